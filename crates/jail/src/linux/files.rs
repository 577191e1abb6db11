//! Landlock: the subject opens and executes its own libraries, and nothing else.
//!
//! It binds to files, not to paths, so it holds with and without a mount namespace.

use std::os::fd::{AsFd, OwnedFd};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::fs::{SealFlags, fcntl_get_seals};

use super::libraries::Libraries;

/// What a kernel must know for this wall to count: every way to change a file, truncating included.
const NEEDED: ABI = ABI::V3;
/// Beyond that, all that the kernel knows of is used: network, devices, signals, abstract sockets.
const WISHED: ABI = ABI::V9;

/// Restricts this process and what it executes, for good.
///
/// # Errors
///
/// Says why the kernel cannot.
pub(super) fn restrict(program: &OwnedFd, libraries: &Libraries) -> Result<(), String> {
    let raise = || allow(ruleset()?, program, libraries)?.restrict_self();
    let status = raise().map_err(|error| format!("Landlock answered: {error}"))?;
    if !status.no_new_privs {
        return Err("privileges could not be given up".to_owned());
    }
    Ok(())
}

fn ruleset() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(NEEDED))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WISHED))?
        .handle_access(AccessNet::from_all(WISHED))?
        .scope(Scope::from_all(WISHED))?
        .create()
}

fn allow(
    ruleset: RulesetCreated,
    program: &OwnedFd,
    libraries: &Libraries,
) -> Result<RulesetCreated, RulesetError> {
    let run = AccessFs::ReadFile | AccessFs::Execute;
    let read = BitFlags::from(AccessFs::ReadFile);
    // A sealed copy in memory lies in no file system, where Landlock neither needs nor takes rules.
    let in_memory = fcntl_get_seals(program).is_ok_and(|seals| seals.contains(SealFlags::WRITE));
    let mut rules = if in_memory { vec![] } else { vec![(program.as_fd(), run)] };
    rules.extend(libraries.files.iter().map(|library| (library.as_fd(), run)));
    rules.extend(libraries.index.iter().map(|(_, index)| (index.as_fd(), read)));
    let rule = |(file, access)| Ok::<_, RulesetError>(PathBeneath::new(file, access));
    let rules = rules.into_iter().map(rule);
    ruleset.set_compatibility(CompatLevel::HardRequirement).add_rules(rules)
}
