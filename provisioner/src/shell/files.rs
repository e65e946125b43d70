//! Puts a file into a guest, only if it is not there as it should be, and whole or not at all.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::digest::sha256_of;
use super::{Outcome, QUICK, Shell, SshError, exec, exec_with, quote};

/// A file that is larger than this travels compressed.
const COMPRESS_FROM: u64 = 1 << 20;

/// How long the guest may take to swallow a chunk or to write the file out.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a file in the guest shall hold.
#[derive(Clone, Debug)]
pub enum Payload {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The bytes of a file on the host.
    File(PathBuf),
}

/// A file for the guest.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Where it goes; folders above it are made.
    pub path: String,
    /// Its mode, for example `0o600`.
    pub mode: u32,
    /// What it holds.
    pub payload: Payload,
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

/// Makes sure that a file is in the guest with these bytes and this mode.
///
/// The bytes are sent only when the digest differs, to a name beside the file, checked there, and moved
/// into place, so that a broken connection leaves the old file.
pub fn upload(shell: &mut dyn Shell, machine: &str, file: &Upload) -> Result<Outcome, SshError> {
    let local = |source| SshError::Broken {
        machine: machine.to_owned(),
        doing: format!("reading what goes to {}", file.path),
        source,
    };
    let wanted = sha256_of(&mut *file.payload.open().map_err(local)?).map_err(local)?;
    if is_there(shell, file, &wanted)? {
        return Ok(Outcome::Unchanged);
    }
    let packed = file.payload.length().map_err(local)? > COMPRESS_FROM && has_zstd(shell)?;
    let command = receive_command(file, &wanted, packed);
    let mut plain = file.payload.open().map_err(local)?;
    let output = if packed {
        let mut compressed = zstd::stream::read::Encoder::new(plain, 3).map_err(local)?;
        exec_with(shell, &command, Some(&mut compressed), PATIENCE)?
    } else {
        exec_with(shell, &command, Some(&mut *plain), PATIENCE)?
    };
    if output.exit == 0 {
        return Ok(Outcome::Changed);
    }
    let reason = output.stderr.lines().last().unwrap_or("its digest is wrong").to_owned();
    Err(SshError::NotWritten { machine: machine.to_owned(), path: file.path.clone(), reason })
}

fn is_there(shell: &mut dyn Shell, file: &Upload, wanted: &str) -> Result<bool, SshError> {
    let path = quote(&file.path);
    let look = format!("sha256sum < {path} && stat -c %a {path}");
    let output = exec(shell, &format!("test -f {path} && {look}"), QUICK)?;
    let mut lines = output.stdout.lines();
    let digest = lines.next().and_then(|line| line.split_whitespace().next());
    let mode = lines.next().and_then(|line| u32::from_str_radix(line.trim(), 8).ok());
    Ok(output.exit == 0 && digest == Some(wanted) && mode == Some(file.mode))
}

fn has_zstd(shell: &mut dyn Shell) -> Result<bool, SshError> {
    Ok(exec(shell, "command -v zstd", QUICK)?.exit == 0)
}

fn receive_command(file: &Upload, digest: &str, packed: bool) -> String {
    let folder = Path::new(&file.path).parent().map(|folder| folder.to_string_lossy());
    let folder = quote(folder.as_deref().unwrap_or("/"));
    let (path, new) = (quote(&file.path), quote(&format!("{}.new", file.path)));
    let receive = if packed { "zstd -dcq" } else { "cat" };
    let mode = file.mode;
    format!(
        "set -e; umask 077; mkdir -p {folder}; {receive} > {new}; \
         echo '{digest}  '{new} | sha256sum -c --status; \
         chmod {mode:o} {new}; sync {new}; mv -f {new} {path}"
    )
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::scripted::ScriptedGuest;
    use super::*;

    fn file(text: &str) -> Upload {
        Upload {
            path: "/etc/minik/node.yaml".to_owned(),
            mode: 0o600,
            payload: Payload::Bytes(text.as_bytes().to_vec()),
        }
    }

    #[test]
    fn only_what_differs_is_sent() {
        let guest = ScriptedGuest::new("dev");
        let mut shell = guest.shell();
        assert_eq!(upload(&mut *shell, "dev", &file("a")).unwrap(), Outcome::Changed);
        assert_eq!(upload(&mut *shell, "dev", &file("a")).unwrap(), Outcome::Unchanged);
        assert_eq!(upload(&mut *shell, "dev", &file("b")).unwrap(), Outcome::Changed);
        assert_eq!(guest.text("/etc/minik/node.yaml").unwrap(), "b");
        let open = Upload { mode: 0o644, ..file("b") };
        assert_eq!(upload(&mut *shell, "dev", &open).unwrap(), Outcome::Changed);
    }

    #[test]
    fn large_files_travel_compressed() {
        let guest = ScriptedGuest::new("dev");
        let text = "all the same ".repeat(200_000);
        upload(&mut *guest.shell(), "dev", &file(&text)).unwrap();
        assert_eq!(guest.text("/etc/minik/node.yaml").unwrap(), text);
        assert!(guest.received() < 10_000, "{} bytes were sent", guest.received());
    }

    #[test]
    fn the_receiving_command() {
        let command = receive_command(&file(""), "ab12", true);
        expect!["set -e; umask 077; mkdir -p /etc/minik; zstd -dcq > /etc/minik/node.yaml.new; echo 'ab12  '/etc/minik/node.yaml.new | sha256sum -c --status; chmod 600 /etc/minik/node.yaml.new; sync /etc/minik/node.yaml.new; mv -f /etc/minik/node.yaml.new /etc/minik/node.yaml"].assert_eq(&command);
    }
}
