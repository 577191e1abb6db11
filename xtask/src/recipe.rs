//! Building an edited answer as cargo built it the last time, without asking cargo.
//!
//! To find out that nothing but the answer has changed, cargo takes as long as rustc takes to
//! compile it. So we keep what rustc was told when cargo last built an answer, with a stamp of all
//! that this depends on except the answer's own sources. While the stamp holds, rustc is told the
//! same again, in a folder of our own, where nothing of cargo's is touched.
//! When anything else has changed, and when anything goes wrong that is not plainly the learner's
//! mistake, cargo builds as always.
//!
//! Where answers share a library, cargo builds a program of two parts, and we a library that a
//! ready program loads: that takes rustc one call instead of two.
//!
//! **Invariant:** what is judged is what cargo would have built, made of the same sources by the
//! same compiler with the same flags.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsStr,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::{
    cargo::{Built, Diagnostic, show},
    shared, store,
};

/// Where recipes lie, by package, in the folder of the learner's progress.
const FOLDER: &str = ".wick/recipes";
/// Our own folder, beside cargo's programs.
pub(crate) const BUILT: &str = "wick";
/// What is everyone's: the workspace, and what the judge and the answer are made of.
const EVERYONES: [&str; 3] = ["Cargo.toml", "Cargo.lock", "crates"];
/// Folders in these that are no part of a program.
const NO_PART: [&str; 2] = ["target", "tests"];
/// Files that cargo and rustup look for in a folder and in those above it.
const CONFIGURATION: [&str; 4] =
    [".cargo/config.toml", ".cargo/config", "rust-toolchain.toml", "rust-toolchain"];

/// Errors about a crate that cannot be found, or is not the one that another was built with.
const ABOUT_CRATES: [&str; 9] =
    ["E0457", "E0458", "E0459", "E0460", "E0461", "E0462", "E0463", "E0464", "E0514"];

/// An answer that is to be built for the judge.
pub(crate) struct Order<'a> {
    pub(crate) root: &'a Path,
    pub(crate) package: &'a str,
    /// The package's folder, from the root.
    pub(crate) folder: &'a str,
    /// What cargo is told to build it with.
    pub(crate) features: Vec<String>,
}

/// What rustc was told.
#[derive(Serialize, Deserialize)]
pub(crate) struct Recipe {
    /// rustc's calls, each from its own name on: for the answer as a library that is loaded, or
    /// for its library and then its program.
    calls: Vec<Vec<String>>,
    /// What the calls make for the judge.
    subject: PathBuf,
    judge: PathBuf,
    /// What loads the subject, if that is a library.
    host: Option<PathBuf>,
    /// What the calls depend on, except the answer's sources.
    stamp: String,
}

/// What was made by a recipe.
#[derive(Serialize, Deserialize)]
struct Product {
    /// The recipe's.
    stamp: String,
    /// Of the answer's sources.
    hash: String,
    /// What rustc said about them.
    said: Vec<String>,
}

/// What rustc said when it was told.
struct Told {
    said: Vec<String>,
    /// The answer does not compile.
    is_refused: bool,
}

/// Takes down what rustc is told while cargo builds an answer.
pub(crate) struct Scribe<'a> {
    order: &'a Order<'a>,
    /// Of files that a build does not make: what changes while cargo builds has to be noticed.
    before: Option<String>,
}

impl<'a> Scribe<'a> {
    /// Begins, before cargo does.
    pub(crate) fn begin(order: &'a Order<'a>) -> Self {
        Self { order, before: order.stamp().ok() }
    }

    /// Keeps the recipe, if cargo has told rustc to build both the library and its program.
    ///
    /// Where that fails, cargo is asked again the next time, and nothing is lost.
    pub(crate) fn end(self, complaints: &[String], judge: &Path, host: Option<&Path>) {
        let calls = complaints.iter().filter_map(|line| call(line, self.order.package));
        let Some(recipe) = self.recipe(&calls.collect::<Vec<_>>(), judge, host) else { return };
        if let Ok(text) = serde_json::to_vec_pretty(&recipe) {
            let _ = store::save(&self.order.file(), &text);
        }
    }

    fn recipe(&self, calls: &[Vec<String>], judge: &Path, host: Option<&Path>) -> Option<Recipe> {
        let of_type = |kind: &str| {
            calls.iter().find(|call| value(call, "--crate-type") == Some(kind)).cloned()
        };
        let (library, program) = (of_type("lib")?, of_type("bin")?);
        let cargos = Path::new(value(&library, "--out-dir")?).to_owned();
        if !self.order.reads_only_its_own(&cargos.join(format!("{}.d", stem(&library)?))) {
            return None;
        }
        let ours = judge.parent()?.join(BUILT).join(self.order.package);
        let object = cargos.join(format!("lib{}.rlib", stem(&library)?));
        let (calls, subject) = if host.is_some() {
            let name = format!("lib{}{}", stem(&library)?, env::consts::DLL_SUFFIX);
            (vec![loadable(&library, &program)?], name)
        } else {
            let name = format!("{}{}", stem(&program)?, env::consts::EXE_SUFFIX);
            (vec![library, program], name)
        };
        let mut recipe = Recipe {
            calls: calls.into_iter().map(|call| moved(call, &object, &ours)).collect(),
            subject: ours.join(subject),
            judge: judge.to_owned(),
            host: host.map(Path::to_owned),
            stamp: String::new(),
        };
        let now = self.order.stamp().ok()?;
        recipe.stamp = recipe.stamp(&now).ok()?;
        (self.before.as_ref() == Some(&now)).then_some(recipe)
    }
}

impl Order<'_> {
    /// Builds the answer by its recipe.
    ///
    /// None if there is no recipe that holds, or if anything goes wrong: then cargo has to build.
    pub(crate) fn follow(&self) -> Option<Built> {
        let recipe: Recipe = serde_json::from_slice(&fs::read(self.file()).ok()?).ok()?;
        if recipe.stamp != recipe.stamp(&self.stamp().ok()?).ok()? {
            return None;
        }
        let Told { said, is_refused } = self.build(&recipe)?;
        if recipe.host.is_some() && !shared::is_in_reach(&recipe.subject) {
            return None;
        }
        for rendered in &said {
            show(rendered);
        }
        let programs = [(self.package, recipe.subject), ("judge", recipe.judge)];
        let programs = programs.map(|(name, program)| (name.to_owned(), program));
        Some(if is_refused { Built::DoesNotCompile } else { Built::Programs(programs.into()) })
    }

    /// Builds what is not built yet.
    fn build(&self, recipe: &Recipe) -> Option<Told> {
        let ours = recipe.subject.parent()?;
        let hash = self.hash_of_sources().ok()?;
        let kept = ours.join("product.json");
        let product = fs::read(&kept).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let is_current = |product: &Product| {
            product.stamp == recipe.stamp && product.hash == hash && recipe.subject.exists()
        };
        if let Some(Product { said, .. }) = product.filter(is_current) {
            return Some(Told { said, is_refused: false });
        }
        // What is half built must never look like a product.
        let _ = fs::remove_file(&kept);
        fs::create_dir_all(ours).ok()?;
        let mut said = Vec::new();
        for call in &recipe.calls {
            let told = self.tell(call)?;
            if told.is_refused {
                return Some(told);
            }
            said.extend(told.said);
            if !self.reads_only_its_own(&ours.join(format!("{}.d", stem(call)?))) {
                return None;
            }
        }
        // The learner may have saved once more while rustc was reading.
        if self.hash_of_sources().ok()? == hash {
            let product = Product { stamp: recipe.stamp.clone(), hash, said: said.clone() };
            fs::write(&kept, serde_json::to_vec(&product).ok()?).ok()?;
        }
        Some(Told { said, is_refused: false })
    }

    /// Tells rustc to build; none if it fails for another reason than what the answer says.
    fn tell(&self, call: &[String]) -> Option<Told> {
        let (rustc, words) = call.split_first()?;
        let output = Command::new(rustc)
            .args(words)
            .current_dir(self.root)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let lines = String::from_utf8_lossy(&output.stderr);
        let said = lines.lines().filter_map(|line| serde_json::from_str::<Diagnostic>(line).ok());
        let said: Vec<_> = said.collect();
        let has_place = |said: &&Diagnostic| said.level == "error" && !said.spans.is_empty();
        let mut errors = said.iter().filter(has_place).peekable();
        let is_answers = errors.peek().is_some() && errors.all(|error| is_in(error, self.folder));
        let is_refused = !output.status.success();
        let said = said.iter().filter_map(Diagnostic::to_show).map(str::to_owned).collect();
        (!is_refused || is_answers).then_some(Told { said, is_refused })
    }

    /// Whether a call read files of its package alone, and no variable that cargo would set.
    fn reads_only_its_own(&self, dep_info: &Path) -> bool {
        let Ok(text) = fs::read_to_string(dep_info) else { return false };
        let package = self.root.join(self.folder);
        text.lines().all(|line| match line.strip_suffix(':') {
            Some(path) => self.root.join(path.replace("\\ ", " ")).starts_with(&package),
            None => !line.starts_with("# env-dep:"),
        })
    }

    /// A stamp of what a build depends on and does not make, except the answer's sources: our own
    /// crates, cargo's configuration, the variables that cargo and rustc look at, and what cargo is
    /// told.
    fn stamp(&self) -> io::Result<String> {
        let names = |name: &OsStr| {
            let name = name.to_string_lossy();
            name.starts_with("CARGO") || name.starts_with("RUST")
        };
        let variables: BTreeSet<_> = env::vars_os().filter(|(name, _)| names(name)).collect();
        let mut text = format!("{:?}\n{variables:?}\n", self.features);
        let package = self.root.join(self.folder);
        let everyones = EVERYONES.map(|name| self.root.join(name));
        for folder in everyones.iter().chain([&package]) {
            let files = files(folder, &NO_PART)?;
            for path in files.iter().filter(|path| !path.starts_with(package.join("src"))) {
                write_stamp(&mut text, path)?;
            }
        }
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.iter().flat_map(|home| [home.join("config.toml"), home.join("config")]);
        let folders = self.root.ancestors();
        let above = folders.flat_map(|folder| CONFIGURATION.map(|name| folder.join(name)));
        for path in above.chain(home).filter(|path| path.is_file()) {
            write_stamp(&mut text, &path)?;
        }
        Ok(text)
    }

    /// Of the answer's sources: what they say, and when they were saved.
    fn hash_of_sources(&self) -> io::Result<String> {
        let mut text = String::new();
        for path in files(&self.root.join(self.folder).join("src"), &[])? {
            write_stamp(&mut text, &path)?;
            text += &store::hash(&fs::read(&path)?);
        }
        Ok(store::hash(text.as_bytes()))
    }

    fn file(&self) -> PathBuf {
        self.root.join(FOLDER).join(format!("{}.json", self.package))
    }
}

impl Recipe {
    /// A stamp of an order, and of what the calls are made with and cargo has made.
    fn stamp(&self, order: &str) -> io::Result<String> {
        let mut text = order.to_owned();
        let ours = self.subject.parent().unwrap_or(Path::new(""));
        let words = self.calls.iter().flatten();
        let named = words.map(|word| Path::new(word.rsplit('=').next().unwrap_or(word)));
        let made = named.filter(|path| path.is_absolute() && !path.starts_with(ours));
        let programs = self.host.iter().chain([&self.judge]).map(PathBuf::as_path);
        for path in made.filter(|path| path.is_file()).chain(programs) {
            write_stamp(&mut text, path)?;
        }
        Ok(store::hash(text.as_bytes()))
    }
}

/// The call of rustc that cargo names in a line, if it builds this package.
fn call(line: &str, package: &str) -> Option<Vec<String>> {
    // Elsewhere cargo quotes in another way.
    let line = line.trim().strip_prefix("Running `").filter(|_| cfg!(unix))?;
    let call = shlex::split(line.strip_suffix('`')?)?;
    let name = package.replace('-', "_");
    (value(&call, "--crate-name") == Some(&name)).then_some(call)
}

/// The word after a flag.
fn value<'a>(call: &'a [String], flag: &str) -> Option<&'a str> {
    let place = call.iter().position(|word| word == flag)?;
    call.get(place + 1).map(String::as_str)
}

/// How the files that a call makes are named.
fn stem(call: &[String]) -> Option<String> {
    let extra = call.iter().find_map(|word| word.strip_prefix("extra-filename="))?;
    Some(format!("{}{extra}", value(call, "--crate-name")?))
}

/// A library's call, made to build one that is loaded as a program would be: linked, with all that
/// the program is linked with.
fn loadable(library: &[String], program: &[String]) -> Option<Vec<String>> {
    let linked = |name: &str| {
        let mut externs = program.windows(2).filter(|words| words[0] == "--extern");
        let is_it = |word: &String| word.split_once('=').is_some_and(|(of, _)| of == name);
        externs.find(|words| is_it(&words[1])).map(|words| words[1].clone())
    };
    let mut flag = "";
    let word = |word| match std::mem::replace(&mut flag, word) {
        "--extern" => linked(word.split_once('=')?.0),
        "--crate-type" => Some("cdylib".to_owned()),
        _ if word.starts_with("--emit=") => Some("--emit=dep-info,link".to_owned()),
        _ => Some(word.to_owned()),
    };
    library.iter().map(String::as_str).map(word).collect()
}

/// A call that makes its files in our folder, and finds the library there.
fn moved(call: Vec<String>, library: &Path, ours: &Path) -> Vec<String> {
    let ours_as_text = ours.to_string_lossy();
    let library_name = library.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let library = library.to_string_lossy();
    let mut is_out_dir = false;
    let moved = |word: String| {
        let follows = std::mem::replace(&mut is_out_dir, word == "--out-dir");
        if follows {
            ours_as_text.to_string()
        } else if word.starts_with("incremental=") {
            format!("incremental={ours_as_text}/incremental")
        } else if let Some(name) = word.strip_suffix(&*library) {
            format!("{name}{ours_as_text}/{library_name}")
        } else {
            word
        }
    };
    call.into_iter().map(moved).collect()
}

/// Whether an error is about the text in a folder, rather than about a crate that it uses.
fn is_in(error: &Diagnostic, folder: &str) -> bool {
    let code = error.code.as_ref().map(|code| code.code.as_str());
    let mut primary = error.spans.iter().filter(|span| span.is_primary);
    !code.is_some_and(|code| ABOUT_CRATES.contains(&code))
        && primary.all(|span| Path::new(&span.file_name).starts_with(folder))
}

/// A file's name, length and time.
fn write_stamp(text: &mut String, path: &Path) -> io::Result<()> {
    let about = fs::metadata(path)?;
    let _ = writeln!(text, "{} {} {:?}", path.display(), about.len(), about.modified()?);
    Ok(())
}

/// All files below a path, or the file itself, in order, except in folders of these names.
fn files(path: &Path, except: &[&str]) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                found.push(entry.path());
            } else if !except.iter().any(|name| entry.file_name() == *name) {
                waiting.push(entry.path());
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}
