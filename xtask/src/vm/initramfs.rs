//! What a VM starts with, all of it in memory: busybox, the network tools, modules, the tests.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use super::modules::Module;
use crate::steps;
use crate::workspace::Workspace;

/// The first program in the VM; busybox's shell runs it.
const INIT: &str = include_str!("init.sh");

/// What tests call, each the host's own.
const TOOLS: &[&str] = &["ip", "tc", "ethtool"];

/// A test executable, by the name of its source file.
pub struct TestExecutable {
    pub name: String,
    pub file: PathBuf,
}

/// Puts an initramfs together in `home`, which it empties first; returns the archive.
pub fn build(
    workspace: &Workspace,
    home: &Path,
    modules: &[Module],
    tests: &[TestExecutable],
    arguments: &[String],
) -> Result<PathBuf> {
    if home.exists() {
        fs::remove_dir_all(home)?;
    }
    let tree = Tree {
        workspace,
        root: home.join("root"),
    };
    for mount_point in ["proc", "sys", "dev", "tmp", "run"] {
        fs::create_dir_all(tree.root.join(mount_point))?;
    }
    let busybox = tree.host_program("busybox")?;
    tree.program(&busybox, "bin/busybox")?;
    for tool in TOOLS {
        tree.program(&tree.host_program(tool)?, &format!("usr/sbin/{tool}"))?;
    }
    tree.write("init", INIT.as_bytes())?;
    tree.executable("init")?;

    for module in modules {
        tree.write(&format!("modules/{}", module.name), &module.object)?;
    }
    let order = modules.iter().map(|module| module.name.as_str());
    tree.write("modules/order", one_a_line(order).as_bytes())?;

    for test in tests {
        let inside = format!("tests/{}", test.name);
        tree.program(&test.file, &inside)?;
        // Debug information is six sevenths of it, and memory in the VM.
        let mut strip = workspace.command("strip");
        strip.arg("--strip-debug").arg(tree.root.join(&inside));
        ensure!(strip.status()?.success(), "cannot strip {}", test.name);
    }
    let arguments = arguments.iter().map(String::as_str);
    tree.write("tests/arguments", one_a_line(arguments).as_bytes())?;

    let archive = home.join("initramfs");
    tree.pack(&archive)?;
    Ok(archive)
}

fn one_a_line<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("{word}\n")).collect()
}

/// The files of the initramfs to be.
struct Tree<'a> {
    workspace: &'a Workspace,
    root: PathBuf,
}

impl Tree<'_> {
    fn host_program(&self, name: &str) -> Result<PathBuf> {
        self.workspace.find(name).with_context(|| format!("{name} is missing"))
    }

    fn write(&self, inside: &str, contents: &[u8]) -> Result<()> {
        let file = self.root.join(inside);
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&file, contents).with_context(|| format!("cannot write {}", file.display()))
    }

    fn executable(&self, inside: &str) -> Result<()> {
        Ok(fs::set_permissions(
            self.root.join(inside),
            PermissionsExt::from_mode(0o755),
        )?)
    }

    /// Copies a program and the libraries it is linked with; these to where its loader looks for them.
    fn program(&self, file: &Path, inside: &str) -> Result<()> {
        self.copy(file, inside)?;
        self.executable(inside)?;
        // Fails for programs that need no libraries.
        let linked = steps::ask(self.workspace.command("ldd").arg(file)).unwrap_or_default();
        for library in libraries(&linked).with_context(|| format!("{} is linked with", file.display()))? {
            let inside = library.trim_start_matches('/');
            if !self.root.join(inside).exists() {
                self.copy(Path::new(library), inside)?;
                self.executable(inside)?;
            }
        }
        Ok(())
    }

    fn copy(&self, file: &Path, inside: &str) -> Result<()> {
        let contents = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        self.write(inside, &contents)
    }

    fn pack(&self, archive: &Path) -> Result<()> {
        let mut names = Vec::new();
        list(&self.root, Path::new(""), &mut names)?;
        let mut cpio = self.workspace.command("cpio");
        cpio.args(["--create", "--format=newc", "--owner=0:0", "--quiet"])
            .current_dir(&self.root)
            .stdin(Stdio::piped())
            .stdout(File::create(archive)?);
        let mut child = cpio.spawn().context("cannot start cpio")?;
        child
            .stdin
            .take()
            .context("cpio's input is not piped")?
            .write_all(names.join("\n").as_bytes())?;
        ensure!(child.wait()?.success(), "cpio failed");
        Ok(())
    }
}

/// Everything in a tree, directories before what is in them.
fn list(root: &Path, below: &Path, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = below.join(entry.file_name());
        names.push(name.to_str().context("a file name is not UTF-8")?.to_owned());
        if entry.file_type()?.is_dir() {
            list(root, &name, names)?;
        }
    }
    Ok(())
}

/// The files named by `ldd`, whose lines are `name => /file (address)` or `/file (address)`; the vDSO is not a file.
fn libraries(ldd: &str) -> Result<Vec<&str>> {
    let mut files = Vec::new();
    for line in ldd.lines() {
        if line.contains("not found") {
            bail!("a library that is not there: {}", line.trim());
        }
        files.extend(line.split_whitespace().find(|word| word.starts_with('/')));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::libraries;

    #[test]
    fn libraries_are_read() {
        let ldd = "\tlinux-vdso.so.1 (0x00007ffd)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f00)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f01)
";
        assert_eq!(
            libraries(ldd).unwrap(),
            ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
        );
        assert!(libraries("\tlibx.so => not found\n").is_err());
    }
}
