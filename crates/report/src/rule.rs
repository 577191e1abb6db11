//! What `cargo xtask verify` demands of an exercise: one name a rule, which never changes.
//!
//! The judge decides the rules about checks and answers, `xtask` those about files;
//! `crates/VERIFY.md` lists them all.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a rule has to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Files alone.
    Files,
    /// What cargo says when it builds stub and solution.
    Builds,
    /// Answers of ours, judged: impostors, alternatives, lazy answers, the solution.
    Proofs,
    /// What the rules before have measured.
    Numbers,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 4] = [Self::Files, Self::Builds, Self::Proofs, Self::Numbers];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Builds => "builds",
            Self::Proofs => "proofs",
            Self::Numbers => "numbers",
        }
    }
}

macro_rules! rules {
    ($($stage:ident {
        $($(#[fix = $fix:literal])? $rule:ident $id:literal $demand:literal;)*
    })*) => {
        /// One demand.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Rule {
            $($(
                #[doc = $demand]
                #[serde(rename = $id)]
                $rule,
            )*)*
        }

        impl Rule {
            /// Every rule, in the order in which they are looked at.
            pub const ALL: &'static [Self] = &[$($(Self::$rule,)*)*];

            /// Its name, which never changes.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $($(Self::$rule => $id,)*)* }
            }

            /// What must hold, as a sentence.
            #[must_use]
            pub fn demand(self) -> &'static str {
                match self { $($(Self::$rule => $demand,)*)* }
            }

            /// What it has to look at.
            #[must_use]
            pub fn stage(self) -> Stage {
                match self { $($(Self::$rule => Stage::$stage,)*)* }
            }

            /// What `--fix` does about it, if that is safe.
            #[must_use]
            pub fn fix(self) -> Option<&'static str> {
                let fixes: &[(Self, &'static str)] = &[$($($((Self::$rule, $fix),)?)*)*];
                fixes.iter().find(|(rule, _)| *rule == self).map(|(_, fix)| *fix)
            }
        }
    };
}

rules! {
    Files {
        CourseReadable "course-readable"
            "`exercises/course.toml` is a list of exercises by name, and nothing else.";
        #[fix = "takes the later entry out"]
        CourseOnce "course-once" "The course names no exercise twice.";
        ManifestReadable "manifest-readable"
            "Each `exercise.toml` is there, and each value has its type and is in its range.";
        FoldersAgree "folders-agree"
            "Each exercise of the course has its files in `exercises` and in `solutions`, and no \
             folder is without a place in the course.";
        PackageNamed "package-named"
            "A package is called as its folder; that of a solution ends in `-solution`.";
        IdUnique "id-unique" "No two exercises have one id.";
        #[fix = "puts the committed id back"]
        IdStable "id-stable" "An id never changes once it is committed.";
        PrerequisiteExists "prerequisite-exists" "Each prerequisite is an exercise of the course.";
        PrerequisiteAcyclic "prerequisite-acyclic"
            "No exercise is, over others or at once, a prerequisite of itself.";
        PrerequisiteEarlier "prerequisite-earlier" "Prerequisites come earlier in the course.";
        EditComplete "edit-complete"
            "`edit` names every source of the solution but `src/main.rs`, each once, and each is \
             there on both sides.";
        PartsAgree "parts-agree"
            "The parts of a manifest are the `#[part]` functions of the solution, each in its \
             file.";
        HintsEnough "hints-enough"
            "Each part has three or more hints, all different, of at most 60 words.";
        HintKeepsSecret "hint-keeps-secret"
            "No hint holds a quarter of the solution's runs of five tokens, or twenty tokens in a \
             row.";
        #[fix = "writes the derived stub, after a snapshot"]
        StubDerived "stub-derived" "The stub is the one that the solution gives.";
        ReadmeWhole "readme-whole"
            "The README of an exercise has an idea of at most 150 words with a figure, and says \
             what to build, how to check and where to go further.";
        #[fix = "rewrites the table"]
        ReadmeTable "readme-table" "The table in `README.md` is what the manifests say.";
        FileNames "file-names"
            "Every path can be checked out on Windows: no reserved name, no forbidden character, \
             no two names that differ in case alone, at most 160 characters.";
    }
    Builds {
        SolutionCompiles "solution-compiles" "The solution compiles without a warning.";
        StubCompiles "stub-compiles" "The stub compiles without a warning.";
    }
    Proofs {
        SuiteAgrees "suite-agrees"
            "The checks are about the parts of the manifest, in its order.";
        NamesClear "names-clear"
            "Names are unique in a part, a diagnosis is a clause, a promise a sentence.";
        ChecksEnough "checks-enough"
            "Each part has four or more checks, two or more of them about properties.";
        CheckStands "check-stands" "No answer, however odd, makes a check panic.";
        ImpostorFailsFirst "impostor-fails-first"
            "Every impostor fails first at the check that claims it, with each seed.";
        ImpostorRecognised "impostor-recognised" "Every impostor is recognised as itself.";
        CheckCatches "check-catches" "Every check is some impostor's first failure.";
        LazyFails "lazy-fails"
            "Lazy answers get no point: empty, zero, constant, the first argument, the first right \
             answer again, always an error.";
        AlternativePasses "alternative-passes"
            "Each part has another right answer, and no check fails it.";
        SolutionPasses "solution-passes"
            "The solution passes on every declared device, with three seeds.";
        SolutionRepeats "solution-repeats" "The same seed gives the same report twice.";
        StubNotStarted "stub-not-started" "Every part of the stub is reported as not started.";
    }
    Numbers {
        ToleranceNoise "tolerance-noise"
            "A tolerance is at least four times what right answers err.";
        ToleranceGap "tolerance-gap"
            "A tolerance is at most a tenth of what the nearest impostor errs.";
        JudgeBudget "judge-budget"
            "The judge is done with a right answer in 0.3 s; a part that trains has 60 s.";
        EditToVerdict "edit-to-verdict"
            "From a saved file to the verdict it takes less than a second.";
        #[fix = "writes the report afresh, as `--report` does"]
        ReportCurrent "report-current" "The published strength report is what was measured.";
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_kebab_case() {
        let ids: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        assert_eq!(ids.len(), Rule::ALL.len());
        assert!(ids.iter().all(|id| id.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    }

    #[test]
    fn rules_stand_in_the_order_of_their_stages() {
        assert!(Rule::ALL.is_sorted_by_key(|rule| rule.stage()));
    }
}
