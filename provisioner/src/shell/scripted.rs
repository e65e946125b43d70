//! A guest in memory, for tests: files, answers to commands, and a list of what was asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::digest::sha256_of;
use super::{Call, Connect, Shell, SshError, Target, quote};

#[derive(Debug, Default)]
struct Inside {
    files: BTreeMap<String, (Vec<u8>, u32)>,
    answers: Vec<(String, i32, String)>,
    calls: Vec<String>,
    received: usize,
    last_input: Vec<u8>,
    node: Option<Node>,
}

/// A guest with systemd, as far as the node's service goes.
#[derive(Debug)]
struct Node {
    name: String,
    enabled: bool,
    /// What the running service was started with.
    running: Option<String>,
    restarts: usize,
}

/// A guest that remembers its files over connections, as a real one does.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScriptedGuest {
    inside: Arc<Mutex<Inside>>,
}

impl ScriptedGuest {
    pub(crate) fn shell(&self) -> Box<dyn Shell> {
        Box::new(self.clone())
    }

    /// From now on, commands that begin so get this exit code and output; the last such rule wins.
    pub(crate) fn answer(&self, begins: &str, exit: i32, stdout: &str) {
        let rule = (begins.to_owned(), exit, stdout.to_owned());
        self.inside.lock().unwrap().answers.push(rule);
    }

    /// Answers as a machine of that name does.
    pub(crate) fn is_a_node(&self, name: &str) {
        let node = Node { name: name.to_owned(), enabled: false, running: None, restarts: 0 };
        self.inside.lock().unwrap().node = Some(node);
    }

    /// How often the node's service was started anew.
    pub(crate) fn restarts(&self) -> usize {
        self.inside.lock().unwrap().node.as_ref().map_or(0, |node| node.restarts)
    }

    /// The service ends, as when the machine is stopped.
    pub(crate) fn power_off(&self) {
        if let Some(node) = &mut self.inside.lock().unwrap().node {
            node.running = None;
        }
    }

    pub(crate) fn last_input(&self) -> Vec<u8> {
        self.inside.lock().unwrap().last_input.clone()
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
        inside.last_input.clone_from(&input);
        let (exit, stdout) = inside.run(call.command, input);
        call.stdout.write_all(stdout.as_bytes()).unwrap();
        Ok(exit)
    }
}

impl Inside {
    fn run(&mut self, command: &str, input: Vec<u8>) -> (i32, String) {
        if command.starts_with("command -v zstd") {
            return (0, "/usr/bin/zstd\n".to_owned());
        }
        if command.starts_with("sha256sum -- ") {
            return (0, self.look(command));
        }
        if command.starts_with("set -e; umask 077; mkdir -p ") {
            self.receive(command, input);
            return (0, String::new());
        }
        self.calls.push(command.to_owned());
        let rule = self.answers.iter().rev().find(|(begins, ..)| command.starts_with(begins));
        if let Some((_, exit, stdout)) = rule {
            return (*exit, stdout.clone());
        }
        (0, self.as_node(command))
    }

    fn as_node(&mut self, command: &str) -> String {
        let unit = self.files.get("/etc/systemd/system/minik-node.service");
        let on_disk = unit.and_then(|(unit, _)| {
            let unit = String::from_utf8_lossy(unit).into_owned();
            Some(unit.split("echo ").nth(1)?.split(' ').next()?.to_owned())
        });
        let Some(node) = &mut self.node else { return String::new() };
        if command.starts_with("hostname; date") {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let name = node.name.clone();
            return format!("{name}\n{}\n{}", now.as_secs(), self.look(""));
        }
        if command.starts_with("systemctl daemon-reload") {
            node.enabled = true;
            node.running = on_disk;
            node.restarts += 1;
        } else if command.starts_with("systemctl start --no-block") {
            node.running = on_disk;
        } else if command.starts_with("systemctl show") {
            let enabled = if node.enabled { "enabled" } else { "" };
            let (state, generation) = match &node.running {
                Some(generation) => ("active", generation.as_str()),
                None => ("inactive", ""),
            };
            return format!(
                "ActiveState={state}\nUnitFileState={enabled}\nNeedDaemonReload=no\n\
                 Generation={generation}\n"
            );
        } else if command.contains("minik-node status") {
            let up = node.running.is_some();
            return format!("{{\"api\":{up},\"node\":{up},\"reasons\":{{}}}}");
        }
        String::new()
    }

    /// Digests and modes of those files whose names are in the command, or of all.
    fn look(&self, command: &str) -> String {
        let asked = |path: &&String| command.is_empty() || command.contains(&quote(path));
        let (mut digests, mut modes) = (String::new(), String::new());
        for path in self.files.keys().filter(asked) {
            let (bytes, mode) = &self.files[path];
            digests += &format!("{}  {path}\n", sha256_of(&mut bytes.as_slice()).unwrap());
            modes += &format!("{mode:o} {path}\n");
        }
        digests + &modes
    }

    /// Does what the lines of the receiving command say.
    fn receive(&mut self, command: &str, input: Vec<u8>) {
        let packed = command.contains("zstd -dcq");
        let bytes = if packed { zstd::decode_all(&input[..]).unwrap() } else { input };
        let mut bytes = bytes.as_slice();
        let name = |word: &str| word.trim_matches('\'').trim_end_matches(".new").to_owned();
        for line in command.lines() {
            if let Some(rest) = line.strip_prefix("head -c ") {
                let (length, path) = rest.split_once(" > ").unwrap();
                let (head, tail) = bytes.split_at(length.parse().unwrap());
                bytes = tail;
                self.calls.push(format!("write {}", name(path)));
                self.files.insert(name(path), (head.to_owned(), 0));
            } else if let Some(rest) = line.strip_prefix("chmod ") {
                let (mode, _) = rest.split_once(' ').unwrap();
                let mode = u32::from_str_radix(mode, 8).unwrap();
                for (path, (_, old)) in &mut self.files {
                    if rest.contains(&quote(&format!("{path}.new"))) {
                        *old = mode;
                    }
                }
            }
        }
        assert!(bytes.is_empty(), "{} bytes too many", bytes.len());
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
