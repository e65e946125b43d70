//! Puts files into a guest, only those that are not there as they should be, each whole or not at all.
//!
//! One question for all digests, one stream for all bytes: each command costs a login shell in the
//! guest, which is slow under emulation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::digest::sha256_of;
use super::{Packing, QUICK, Shell, SshError, exec, exec_with, quote};
use crate::report::Outcome;

/// More than this travels compressed, if the guest can unpack it.
const COMPRESS_FROM: u64 = 1 << 20;

/// How long the guest may be silent while it takes the bytes and writes them out.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a file in the guest shall hold.
#[derive(Clone)]
pub enum Payload {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The bytes of a file on the host.
    File(PathBuf),
}

/// A file for the guest.
#[derive(Clone)]
pub struct Upload {
    /// Where it goes; folders above it are made.
    pub path: String,
    /// Its mode, for example `0o600`.
    pub mode: u32,
    /// What it holds.
    pub payload: Payload,
}

/// A file with what is known about its bytes, for those who need to know it before the guest does.
#[derive(Clone)]
pub(crate) struct Wanted<'a> {
    pub(crate) file: &'a Upload,
    pub(crate) digest: String,
    pub(crate) length: u64,
}

impl Payload {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self {
            Payload::Bytes(bytes) => Box::new(Cursor::new(bytes)),
            Payload::File(path) => Box::new(File::open(path)?),
        })
    }

    fn length(&self) -> io::Result<u64> {
        Ok(match self {
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::File(path) => path.metadata()?.len(),
        })
    }
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(file: &'a Upload) -> io::Result<Wanted<'a>> {
        let digest = sha256_of(&mut *file.payload.open()?)?;
        Ok(Wanted { file, digest, length: file.payload.length()? })
    }
}

/// Makes sure that files are in the guest with these bytes and modes.
///
/// Bytes are sent only of those whose digest or mode differs, to names beside the files, checked
/// there, and moved into place, so that a broken connection leaves the old files.
///
/// # Errors
/// The connection, or what the guest says about the files.
pub fn upload(shell: &mut dyn Shell, machine: &str, files: &[Upload]) -> Result<Outcome, SshError> {
    let wanted = files.iter().map(Wanted::new).collect::<io::Result<_>>();
    let wanted: Vec<Wanted> = wanted.map_err(unreadable(machine))?;
    let there = look(shell, &wanted)?;
    bring(shell, machine, wanted, &there)
}

/// Digest and mode of files that are in a guest, by path.
pub(crate) type There = BTreeMap<String, (String, u32)>;

fn unreadable(machine: &str) -> impl Fn(io::Error) -> SshError {
    let machine = machine.to_owned();
    move |source| SshError::Broken {
        machine: machine.clone(),
        doing: "reading what goes into the guest".to_owned(),
        source,
    }
}

/// [`upload`] for files whose digests are known, here and in the guest.
pub(crate) fn bring(
    shell: &mut dyn Shell,
    machine: &str,
    wanted: Vec<Wanted<'_>>,
    there: &There,
) -> Result<Outcome, SshError> {
    let local = unreadable(machine);
    let is_missing = |wanted: &Wanted| {
        there.get(wanted.file.path.as_str()) != Some(&(wanted.digest.clone(), wanted.file.mode))
    };
    let missing: Vec<Wanted> = wanted.into_iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    let total: u64 = missing.iter().map(|wanted| wanted.length).sum();
    let packing = if total > COMPRESS_FROM { Packing::best(shell)? } else { Packing::Plain };
    let command = receive_command(&missing, packing);
    let mut bytes: Box<dyn Read> = Box::new(io::empty());
    for wanted in &missing {
        bytes = Box::new(bytes.chain(wanted.file.payload.open().map_err(&local)?));
    }
    let mut packed = packing.pack(bytes).map_err(&local)?;
    let output = exec_with(shell, &command, Some(&mut *packed), PATIENCE)?;
    if output.exit == 0 {
        return Ok(Outcome::Changed);
    }
    let paths: Vec<&str> = missing.iter().map(|wanted| wanted.file.path.as_str()).collect();
    let reason = output.stderr.lines().last().unwrap_or("the digest is wrong").to_owned();
    Err(SshError::NotWritten { machine: machine.to_owned(), path: paths.join(", "), reason })
}

/// Digest and mode of each file that is there.
fn look(shell: &mut dyn Shell, files: &[Wanted<'_>]) -> Result<There, SshError> {
    let paths: Vec<String> = files.iter().map(|wanted| quote(&wanted.file.path)).collect();
    let paths = paths.join(" ");
    let command =
        format!("sha256sum -- {paths} 2>/dev/null; stat -c '%a %n' -- {paths} 2>/dev/null; true");
    Ok(understand(&exec(shell, &command, QUICK)?.stdout))
}

/// Digest and mode of all files in folders, with a command to be put behind others.
pub(crate) fn look_into(folders: &[&str]) -> String {
    let folders = folders.join(" ");
    let find = format!("find {folders} -type f");
    format!(
        "{find} -exec sha256sum {{}} + 2>/dev/null; {find} -exec stat -c '%a %n' {{}} + 2>/dev/null; true"
    )
}

/// Lines of `sha256sum` (`digest  path`), then lines of `stat` (`mode path`).
pub(crate) fn understand(text: &str) -> There {
    let (mut digests, mut found) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some((digest, path)) = line.split_once("  ") {
            digests.insert(path, digest.to_owned());
        } else if let Some((mode, path)) = line.split_once(' ')
            && let Ok(mode) = u32::from_str_radix(mode, 8)
            && let Some(digest) = digests.remove(path)
        {
            found.insert(path.to_owned(), (digest, mode));
        }
    }
    found
}

fn receive_command(files: &[Wanted<'_>], packing: Packing) -> String {
    let new = |wanted: &Wanted| quote(&format!("{}.new", wanted.file.path));
    let all_new = files.iter().map(new).collect::<Vec<_>>().join(" ");
    let folders: BTreeSet<String> = files
        .iter()
        .filter_map(|wanted| Path::new(&wanted.file.path).parent())
        .map(|folder| quote(&folder.to_string_lossy()))
        .collect();
    let folders = folders.into_iter().collect::<Vec<_>>().join(" ");

    let mut script = format!("set -e; umask 077; mkdir -p {folders}\n");
    let _ = writeln!(script, "{}{{", packing.unpack());
    for wanted in files {
        let _ = writeln!(script, "head -c {} > {}", wanted.length, new(wanted));
    }
    script.push_str("}\nsha256sum -c --status <<'EOF'\n");
    for wanted in files {
        let _ = writeln!(script, "{}  {}.new", wanted.digest, wanted.file.path);
    }
    script.push_str("EOF\n");
    let mut modes: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for wanted in files {
        modes.entry(wanted.file.mode).or_default().push(new(wanted));
    }
    for (mode, paths) in modes {
        let _ = writeln!(script, "chmod {mode:o} {}", paths.join(" "));
    }
    let _ = writeln!(script, "sync {all_new}");
    for wanted in files {
        let _ = writeln!(script, "mv -f {} {}", new(wanted), quote(&wanted.file.path));
    }
    script
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::scripted::ScriptedGuest;
    use super::*;

    fn file(path: &str, mode: u32, text: &str) -> Upload {
        let payload = Payload::Bytes(text.as_bytes().to_vec());
        Upload { path: path.to_owned(), mode, payload }
    }

    #[test]
    fn only_what_differs_is_sent() {
        let guest = ScriptedGuest::default();
        let mut shell = guest.shell();
        let mut put = |text: &str, mode| {
            let files = [file("/etc/a", mode, text), file("/etc/b c", 0o644, "always so")];
            let outcome = upload(&mut *shell, "dev", &files).unwrap();
            format!("{outcome}: {}", guest.take_calls().join(", "))
        };
        expect!["changed: write /etc/a, write /etc/b c"].assert_eq(&put("1", 0o600));
        expect!["unchanged: "].assert_eq(&put("1", 0o600));
        expect!["changed: write /etc/a"].assert_eq(&put("2", 0o600));
        expect!["changed: write /etc/a"].assert_eq(&put("2", 0o644));
        assert_eq!(guest.text("/etc/a").unwrap(), "2");
    }

    #[test]
    fn much_travels_compressed() {
        let guest = ScriptedGuest::default();
        let text = "all the same ".repeat(200_000);
        let files = [file("/a", 0o600, &text), file("/b", 0o600, "b")];
        upload(&mut *guest.shell(), "dev", &files).unwrap();
        assert_eq!(guest.text("/a").unwrap(), text);
        assert_eq!(guest.text("/b").unwrap(), "b");
        assert!(guest.received() < 10_000, "{} bytes were sent", guest.received());
    }

    #[test]
    fn the_receiving_command() {
        let files = [file("/etc/a", 0o600, "a"), file("/x y/b", 0o755, "bb")];
        let wanted: Vec<Wanted> = files.iter().map(|file| Wanted::new(file).unwrap()).collect();
        expect![[r#"
            set -e; umask 077; mkdir -p '/x y' /etc
            zstd -dcq | {
            head -c 1 > /etc/a.new
            head -c 2 > '/x y/b.new'
            }
            sha256sum -c --status <<'EOF'
            ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  /etc/a.new
            3b64db95cb55c763391c707108489ae18b4112d783300de38e033b4c98c3deaf  /x y/b.new
            EOF
            chmod 600 /etc/a.new
            chmod 755 '/x y/b.new'
            sync /etc/a.new '/x y/b.new'
            mv -f /etc/a.new /etc/a
            mv -f '/x y/b.new' '/x y/b'
        "#]]
        .assert_eq(&receive_command(&wanted, Packing::Zstd));
    }
}
