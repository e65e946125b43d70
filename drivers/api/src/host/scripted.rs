//! A host made of answers written down beforehand. It records what it is asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{End, FileFacts, Host, Tool, ToolOutput};
use crate::error::{DriverError, Result};
use crate::process::ProcessRecord;
use crate::resources::HostResources;

/// A host for tests. A tool without an answer is missing; a tool with answers gives them in turn
/// and repeats the last.
///
/// Clones are the same host: one goes to the driver, the other asks what happened.
#[derive(Clone, Debug, Default)]
pub struct ScriptedHost {
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    answers: BTreeMap<String, VecDeque<ToolOutput>>,
    makes: Vec<(String, PathBuf, Vec<u8>)>,
    files: BTreeMap<PathBuf, (Vec<u8>, u32)>,
    folders: BTreeSet<PathBuf>,
    closed: BTreeSet<PathBuf>,
    env: BTreeMap<String, String>,
    calls: Vec<String>,
    user_id: u32,
}

impl ScriptedHost {
    /// A host with nothing on it, used by root.
    pub fn new() -> Self {
        Self::default()
    }

    /// When `call` (as [`Tool`] displays it) or a call that begins with it is run: success, with
    /// this on stdout. The longest match wins.
    pub fn answer(&self, call: &str, stdout: &str) -> &Self {
        self.answer_with(call, 0, stdout, "")
    }

    /// As [`ScriptedHost::answer`], with exit code and stderr.
    pub fn answer_with(&self, call: &str, exit: i32, stdout: &str, stderr: &str) -> &Self {
        let output = ToolOutput { exit: Some(exit), stdout: stdout.into(), stderr: stderr.into() };
        self.script().answers.entry(call.to_owned()).or_default().push_back(output);
        self
    }

    /// Takes back the answers to a call, so that others can be written down.
    pub fn forget(&self, call: &str) -> &Self {
        self.script().answers.remove(call);
        self
    }

    /// A call that begins with this leaves a file behind.
    pub fn makes(&self, call: &str, path: impl Into<PathBuf>, content: &str) -> &Self {
        self.script().makes.push((call.to_owned(), path.into(), content.into()));
        self
    }

    /// Puts a file on the host.
    pub fn file(&self, path: impl Into<PathBuf>, content: &str) -> &Self {
        self.script().files.insert(path.into(), (content.into(), 0o644));
        self
    }

    /// Puts a device on the host that this user may not open.
    pub fn closed_device(&self, path: impl Into<PathBuf>) -> &Self {
        let path = path.into();
        self.script().closed.insert(path.clone());
        self.file(path, "")
    }

    /// Sets an environment variable.
    pub fn set_env(&self, name: &str, value: &str) -> &Self {
        self.script().env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Says who uses the host.
    pub fn set_user_id(&self, id: u32) -> &Self {
        self.script().user_id = id;
        self
    }

    /// What was asked so far, one line each: tools run, files written and removed.
    pub fn calls(&self) -> Vec<String> {
        self.script().calls.clone()
    }

    /// What is on the host now: path and mode of each file.
    pub fn files(&self) -> Vec<String> {
        let script = self.script();
        script
            .files
            .iter()
            .map(|(path, (_, mode))| format!("{mode:o} {}", path.display()))
            .collect()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_there(path: &Path) -> DriverError {
    DriverError::io("read", path, io::ErrorKind::NotFound.into())
}

impl Host for ScriptedHost {
    fn run_any(&self, tool: &Tool) -> Result<ToolOutput> {
        let mut script = self.script();
        let call = tool.to_string();
        script.calls.push(call.clone());
        let matching = |(known, _): &(&String, &mut VecDeque<_>)| call.starts_with(known.as_str());
        let answers =
            script.answers.iter_mut().filter(matching).max_by_key(|(known, _)| known.len());
        let Some((_, answers)) = answers else {
            return Err(DriverError::ToolMissing { tool: tool.name(), looked_in: Vec::new() });
        };
        let last = answers.len() <= 1;
        let answer = if last { answers.front().cloned() } else { answers.pop_front() };
        for (_, path, content) in
            script.makes.clone().iter().filter(|(made, ..)| call.starts_with(made))
        {
            script.files.insert(path.clone(), (content.clone(), 0o644));
        }
        Ok(answer.unwrap_or_default())
    }

    fn find_tools(&self, name: &str) -> Vec<PathBuf> {
        let script = self.script();
        script.files.keys().filter(|path| path.ends_with(format!("bin/{name}"))).cloned().collect()
    }

    fn env(&self, name: &str) -> Option<String> {
        self.script().env.get(name).cloned()
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let script = self.script();
        script.files.get(path).map(|(content, _)| content.clone()).ok_or_else(|| not_there(path))
    }

    fn write_atomic(&self, path: &Path, content: &[u8], mode: u32) -> Result<()> {
        let mut script = self.script();
        script.calls.push(format!("write {}", path.display()));
        script.files.insert(path.to_owned(), (content.to_owned(), mode));
        Ok(())
    }

    fn make_dir(&self, path: &Path, _mode: u32) -> Result<()> {
        self.script().folders.insert(path.to_owned());
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut script = self.script();
        let file = script.files.remove(from).ok_or_else(|| not_there(from))?;
        script.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn facts(&self, path: &Path) -> Option<FileFacts> {
        let script = self.script();
        let size = match script.files.get(path) {
            Some((content, _)) => u64::try_from(content.len()).ok()?,
            None => script.folders.get(path).map(|_| 0)?,
        };
        Some(FileFacts { size, modified_ns: 0 })
    }

    fn list(&self, path: &Path) -> Vec<String> {
        let script = self.script();
        let below = script.files.keys().filter_map(|file| file.strip_prefix(path).ok());
        let names: BTreeSet<_> = below
            .filter_map(|rest| rest.iter().next())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.into_iter().collect()
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut script = self.script();
        script.calls.push(format!("remove {}", path.display()));
        script.files.retain(|file, _| !file.starts_with(path));
        script.folders.retain(|folder| !folder.starts_with(path));
        Ok(())
    }

    fn try_open(&self, device: &Path) -> io::Result<()> {
        let script = self.script();
        if script.closed.contains(device) {
            Err(io::ErrorKind::PermissionDenied.into())
        } else if script.files.contains_key(device) {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn end(&self, process: &ProcessRecord, how: End) -> Result<()> {
        let mut script = self.script();
        script.calls.push(format!("end {} {how:?}", process.pid));
        script.files.remove(&PathBuf::from(format!("/proc/{}/stat", process.pid)));
        Ok(())
    }

    fn wait_gone(&self, process: &ProcessRecord, _deadline: Duration) -> Result<bool> {
        Ok(!process.is_alive(self))
    }

    fn user_id(&self) -> u32 {
        self.script().user_id
    }

    fn resources(&self, _folder: &Path) -> Result<HostResources> {
        Ok(HostResources {
            cpus: 4,
            memory_mib: 8000,
            memory_available_mib: 6000,
            disk_free_mib: 50_000,
        })
    }
}
