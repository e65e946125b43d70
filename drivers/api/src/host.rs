//! The computer drivers run on, behind a trait: run a tool, look at files and processes. Tests put
//! a script in its place, so that a driver's test is what it runs.

mod real;
mod scripted;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{DriverError, Result};
use crate::process::ProcessRecord;
use crate::resources::HostResources;

pub use real::RealHost;
pub use scripted::ScriptedHost;

/// How long a tool may take when its caller says nothing.
const TOOL_DEADLINE: Duration = Duration::from_secs(30);

/// How many lines of a failed tool's complaints are kept.
const OUTPUT_LINES: usize = 8;

/// A program to run, with a deadline. It gets no input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// A name to be found on PATH, or a path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// After this long it is killed.
    pub deadline: Duration,
    /// A file that gets what it says on stderr, added to its end. For programs that stay in the
    /// background and go on writing there.
    pub log: Option<PathBuf>,
}

impl Tool {
    /// A call without arguments that may take 30 seconds.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: Vec::new(), deadline: TOOL_DEADLINE, log: None }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets how long it may take.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sends stderr to the end of a file. The file's end is what [`ToolOutput::stderr`] then holds.
    #[must_use]
    pub fn log(mut self, file: impl Into<PathBuf>) -> Self {
        self.log = Some(file.into());
        self
    }

    /// The program's name without its folder.
    pub fn name(&self) -> String {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str());
        name.to_string_lossy().into_owned()
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

/// What a program said and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolOutput {
    /// Its exit code; `None` when a signal ended it.
    pub exit: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: Vec<u8>,
}

/// Size and time of a file, to notice that it was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Size in bytes.
    pub size: u64,
    /// Last change, in nanoseconds since 1970.
    pub modified_ns: i128,
}

/// How a process is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGTERM: it may tidy up.
    Ask,
    /// SIGKILL.
    Force,
}

/// The computer drivers run on.
pub trait Host: Send + Sync {
    /// Runs a program to its end and returns how it ended, whatever the exit code.
    ///
    /// # Errors
    /// [`DriverError::ToolMissing`], [`DriverError::ToolTimedOut`] or [`DriverError::Io`].
    fn run_any(&self, tool: &Tool) -> Result<ToolOutput>;

    /// Runs a program that is expected to succeed.
    ///
    /// # Errors
    /// Those of [`Host::run_any`], and [`DriverError::ToolFailed`].
    fn run(&self, tool: &Tool) -> Result<ToolOutput> {
        let output = self.run_any(tool)?;
        if output.exit == Some(0) {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(DriverError::ToolFailed {
            command: tool.to_string(),
            exit: output.exit,
            output: last_lines(&said, OUTPUT_LINES),
        })
    }

    /// Every program of this name on PATH, in its order.
    fn find_tools(&self, name: &str) -> Vec<PathBuf>;

    /// An environment variable that is set and not empty.
    fn env(&self, name: &str) -> Option<String>;

    /// The whole content of a file.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn read(&self, path: &Path) -> Result<Vec<u8>>;

    /// The whole content of a file as text; what is no UTF-8 is replaced.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn read_text(&self, path: &Path) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.read(path)?).into_owned())
    }

    /// Replaces a file so that a crash leaves the old or the new content, never a part: written
    /// beside it, synced, renamed. `mode` are the permission bits.
    ///
    /// # Errors
    /// [`DriverError::DiskFull`] or [`DriverError::Io`].
    fn write_atomic(&self, path: &Path, content: &[u8], mode: u32) -> Result<()>;

    /// Makes a folder and those above it, new ones with the permission bits `mode`.
    ///
    /// # Errors
    /// [`DriverError::DiskFull`] or [`DriverError::Io`].
    fn make_dir(&self, path: &Path, mode: u32) -> Result<()>;

    /// Renames a file over another in the same folder.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Whether something is at the path.
    fn exists(&self, path: &Path) -> bool {
        self.facts(path).is_some()
    }

    /// Size and time of a file; `None` when it cannot be looked at.
    fn facts(&self, path: &Path) -> Option<FileFacts>;

    /// The names in a folder, sorted; none when it cannot be read.
    fn list(&self, path: &Path) -> Vec<String>;

    /// Removes a file, or a folder with all in it. Nothing there is fine.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn remove(&self, path: &Path) -> Result<()>;

    /// Whether this user may open a device for reading and writing.
    ///
    /// # Errors
    /// The system's answer.
    fn try_open(&self, device: &Path) -> std::io::Result<()>;

    /// Sends a signal to this very process; one that is gone is fine.
    ///
    /// # Errors
    /// [`DriverError::Io`] when the process belongs to somebody else.
    fn end(&self, process: &ProcessRecord, how: End) -> Result<()>;

    /// Waits until the process is gone; false when it still is there at the deadline.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn wait_gone(&self, process: &ProcessRecord, deadline: Duration) -> Result<bool>;

    /// The user's numeric id.
    fn user_id(&self) -> u32;

    /// CPUs, memory, and the free room where `folder` is or will be.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn resources(&self, folder: &Path) -> Result<HostResources>;
}

/// The last `count` lines of a text, without blank ends.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
