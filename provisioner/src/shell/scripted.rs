//! A guest in memory, for tests: files, answers to commands, and a list of what was asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::digest::sha256_of;
use super::{Call, Connect, Shell, SshError, Target};

#[derive(Debug, Default)]
struct Inside {
    files: BTreeMap<String, (Vec<u8>, u32)>,
    answers: Vec<(String, i32, String)>,
    calls: Vec<String>,
    received: usize,
}

/// A guest that remembers its files over connections, as a real one does.
#[derive(Clone, Debug)]
pub(crate) struct ScriptedGuest {
    inside: Arc<Mutex<Inside>>,
}

impl ScriptedGuest {
    pub(crate) fn new(_machine: &str) -> ScriptedGuest {
        ScriptedGuest { inside: Arc::default() }
    }

    pub(crate) fn shell(&self) -> Box<dyn Shell> {
        Box::new(self.clone())
    }

    /// From now on, commands that begin so get this exit code and output; the last such rule wins.
    pub(crate) fn answer(&self, begins: &str, exit: i32, stdout: &str) {
        let rule = (begins.to_owned(), exit, stdout.to_owned());
        self.inside.lock().unwrap().answers.push(rule);
    }

    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let inside = self.inside.lock().unwrap();
        inside.files.get(path).map(|(bytes, _)| String::from_utf8_lossy(bytes).into_owned())
    }

    pub(crate) fn files(&self) -> Vec<String> {
        let inside = self.inside.lock().unwrap();
        inside.files.iter().map(|(path, (_, mode))| format!("{mode:o} {path}")).collect()
    }

    /// Commands since the last time this was asked; those that only move files are left out.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.inside.lock().unwrap().calls)
    }

    pub(crate) fn received(&self) -> usize {
        self.inside.lock().unwrap().received
    }
}

impl Shell for ScriptedGuest {
    fn call(&mut self, call: Call<'_>) -> Result<i32, SshError> {
        let mut inside = self.inside.lock().unwrap();
        let mut input = Vec::new();
        if let Some(from) = call.input {
            from.read_to_end(&mut input).unwrap();
        }
        inside.received += input.len();
        let (exit, stdout) = inside.run(call.command, input);
        call.stdout.write_all(stdout.as_bytes()).unwrap();
        Ok(exit)
    }
}

impl Inside {
    fn run(&mut self, command: &str, input: Vec<u8>) -> (i32, String) {
        if command == "command -v zstd" {
            return (0, "/usr/bin/zstd\n".to_owned());
        }
        if let Some(rest) = command.strip_prefix("test -f ") {
            let path = rest.split_whitespace().next().unwrap();
            let Some((bytes, mode)) = self.files.get(path) else { return (1, String::new()) };
            let digest = sha256_of(&mut bytes.as_slice()).unwrap();
            return (0, format!("{digest}  -\n{mode:o}\n"));
        }
        if command.starts_with("set -e; umask 077; mkdir -p ") {
            let path = command.rsplit(' ').next().unwrap().to_owned();
            let mode = command.split("chmod ").nth(1).unwrap().split(' ').next().unwrap();
            let mode = u32::from_str_radix(mode, 8).unwrap();
            let packed = command.contains("zstd -dcq");
            let bytes = if packed { zstd::decode_all(&input[..]).unwrap() } else { input };
            self.calls.push(format!("write {path}"));
            self.files.insert(path, (bytes, mode));
            return (0, String::new());
        }
        self.calls.push(command.to_owned());
        let rule = self.answers.iter().rev().find(|(begins, ..)| command.starts_with(begins));
        rule.map_or((0, String::new()), |(_, exit, stdout)| (*exit, stdout.clone()))
    }
}

/// Connects to scripted guests by the machine's name.
#[derive(Debug, Default)]
pub(crate) struct ScriptedNetwork {
    pub(crate) guests: HashMap<String, ScriptedGuest>,
}

impl Connect for ScriptedNetwork {
    fn connect(&self, target: &Target, _: Duration) -> Result<Box<dyn Shell>, SshError> {
        Ok(self.guests[&target.machine].shell())
    }
}
