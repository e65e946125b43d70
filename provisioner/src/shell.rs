//! The way into a guest: run a command, put a file there. Behind a trait, so that tests script it.

mod digest;
mod error;
mod files;
mod keys;
mod openssh;
mod packing;
#[cfg(test)]
pub(crate) mod scripted;
mod session;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use digest::sha256_of;
pub use error::SshError;
pub use files::{Payload, Upload, upload};
pub(crate) use files::{There, Wanted, bring, look_into, understand};
pub use keys::SshKey;
pub(crate) use keys::bare;
pub use openssh::{known_hosts_line, ssh_arguments};
pub(crate) use packing::Packing;
pub use session::Ssh2;

/// How long a command may take that only looks at or writes small things, even under emulation.
pub const QUICK: Duration = Duration::from_secs(60);

/// One command for a guest's shell.
pub struct Call<'a> {
    /// The command line.
    pub command: &'a str,
    /// What it reads; nothing when none.
    pub input: Option<&'a mut dyn Read>,
    /// Where its output goes, as it comes.
    pub stdout: &'a mut dyn Write,
    /// Where its complaints go, as they come.
    pub stderr: &'a mut dyn Write,
    /// How long it may be silent.
    pub patience: Duration,
}

/// A logged-in connection to one guest.
pub trait Shell: Send {
    /// Runs a command to its end and returns its exit code, whatever that is.
    fn call(&mut self, call: Call<'_>) -> Result<i32, SshError>;
}

/// Where and how to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The machine, for messages.
    pub machine: String,
    /// Where the host reaches its port 22.
    pub address: SocketAddr,
    /// File of the private key to log in with.
    pub key: PathBuf,
    /// The host key it must show: `ssh-ed25519 AAAA…`.
    pub host_key: String,
}

/// Makes connections. [`Ssh2`] is the real one.
pub trait Connect: Sync {
    /// Connects, checks the host key before anything else, and logs in; tries again until `deadline`
    /// while nothing answers, as a booting guest does.
    fn connect(&self, target: &Target, deadline: Duration) -> Result<Box<dyn Shell>, SshError>;
}

/// What a command said and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Exit code.
    pub exit: i32,
    /// Its output, as text.
    pub stdout: String,
    /// Its complaints, as text.
    pub stderr: String,
}

/// Runs a command and keeps what it says.
pub fn exec(shell: &mut dyn Shell, command: &str, patience: Duration) -> Result<Output, SshError> {
    exec_with(shell, command, None, patience)
}

pub(crate) fn exec_with(
    shell: &mut dyn Shell,
    command: &str,
    input: Option<&mut dyn Read>,
    patience: Duration,
) -> Result<Output, SshError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    // Named anew, so that the input may live as short as the two buffers.
    let input = input.map(|input| input as &mut dyn Read);
    let call = Call { command, input, stdout: &mut stdout, stderr: &mut stderr, patience };
    let exit = shell.call(call)?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Output { exit, stdout: text(stdout), stderr: text(stderr) })
}

/// `text` as one word of a POSIX shell.
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    #[test_case("/var/lib/a-b.c", "/var/lib/a-b.c"; "plain")]
    #[test_case("a b", "'a b'"; "space")]
    #[test_case("it's", r"'it'\''s'"; "quote")]
    #[test_case("$(x)", "'$(x)'"; "substitution")]
    #[test_case("", "''"; "empty")]
    fn quoting(text: &str, expected: &str) {
        assert_eq!(super::quote(text), expected);
    }
}
