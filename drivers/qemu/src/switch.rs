//! The network between the machines of a profile without privileges. The first machine is the
//! switch: its QEMU has a hub that joins its own interface and one pair of sockets per further
//! machine. Frames travel as datagrams, so either side may be restarted and nobody reconnects.
//!
//! ```text
//!   first machine's interface ─ hub ─ KEY.hub ⇄ KEY.machine ─ second machine's interface
//!                                └ …
//! ```
//! The sockets are in one folder per profile, with the file `first` that tells where the first
//! machine's monitor is. The host has no part in this network: QEMU's user-mode stack answers every
//! frame it sees, so on a hub it would answer for other machines. Forwards therefore reach a machine
//! through its other interface.

use std::path::PathBuf;

use minik_driver::{Host, MachineSpec, Result, stable_hash};
use qapi::qmp;

use crate::forwards::Console;
use crate::monitor::Monitor;

/// The endings of the two sockets of a machine.
const HUB_END: &str = "hub";
const MACHINE_END: &str = "machine";

/// The profile's switch as one machine sees it.
pub(crate) struct Switch<'a>(pub(crate) &'a MachineSpec);

impl Switch<'_> {
    /// Whether the machine is the switch. The first machine has its profile's name.
    pub(crate) fn is_first(&self) -> bool {
        self.0.name == self.0.profile
    }

    pub(crate) fn folder(&self) -> PathBuf {
        let hash = stable_hash(&["switch", &self.0.profile]);
        self.0.run_dir.with_file_name(format!("s{:010x}", hash >> 24))
    }

    fn first(&self) -> PathBuf {
        self.folder().join("first")
    }

    fn key(&self) -> String {
        format!("{:010x}", stable_hash(&["port", &self.0.profile, &self.0.name]) >> 24)
    }

    /// The machine's own socket and the hub's for it.
    pub(crate) fn sockets(&self) -> (PathBuf, PathBuf) {
        self.sockets_of(&self.key())
    }

    fn sockets_of(&self, key: &str) -> (PathBuf, PathBuf) {
        let folder = self.folder();
        (folder.join(format!("{key}.{MACHINE_END}")), folder.join(format!("{key}.{HUB_END}")))
    }

    /// Makes the folder, before QEMU binds its sockets there.
    pub(crate) fn set_up(&self, host: &dyn Host) -> Result<()> {
        host.make_dir(&self.folder(), 0o700)?;
        match (self.is_first(), self.0.run_dir.file_name()) {
            (true, Some(name)) => {
                host.write_atomic(&self.first(), name.to_string_lossy().as_bytes(), 0o600)
            }
            (true | false, _) => Ok(()),
        }
    }

    /// The monitor of the machine that is the switch.
    pub(crate) fn monitor(&self, host: &dyn Host) -> Result<Monitor> {
        if self.is_first() {
            return Monitor::connect(self.0);
        }
        let name = host.read_text(&self.first())?;
        let mut first = self.0.clone();
        first.run_dir = self.0.run_dir.with_file_name(name.trim());
        first.name.clone_from(&self.0.profile);
        Monitor::connect(&first)
    }

    /// Plugs in what is there: this machine, or when it is the switch itself, all the others.
    pub(crate) fn plug_in(&self, host: &dyn Host, console: &mut dyn Console) -> Result<()> {
        let keys = match self.is_first() {
            true => keys(&host.list(&self.folder())),
            false => vec![self.key()],
        };
        let there = console.say("info network".to_owned())?;
        for key in keys {
            if !there.contains(&format!("port-{key}:")) {
                self.plug_in_one(console, &key)?;
            }
        }
        Ok(())
    }

    fn plug_in_one(&self, console: &mut dyn Console, key: &str) -> Result<()> {
        let (machine, hub) = self.sockets_of(key);
        let end = |path: PathBuf| {
            let path = path.display().to_string();
            qmp::SocketAddress::unix(qmp::UnixSocketAddress { path, abstract_: None, tight: None })
        };
        let dgram = qmp::NetdevDgramOptions { local: Some(end(hub)), remote: Some(end(machine)) };
        let wire = format!("wire-{key}");
        let hubport = qmp::NetdevHubPortOptions { netdev: Some(wire.clone()), hubid: 0 };
        console.plug(qmp::Netdev::dgram { id: wire, dgram })?;
        console.plug(qmp::Netdev::hubport { id: format!("port-{key}"), hubport })
    }

    /// Removes the machine's sockets, and the folder with the last of them. A switch that still
    /// runs keeps its end of the wire, which then leads nowhere.
    pub(crate) fn tear_down(&self, host: &dyn Host) -> Result<()> {
        match self.is_first() {
            true => host.remove(&self.first())?,
            false => {
                let (machine, hub) = self.sockets();
                host.remove(&machine)?;
                host.remove(&hub)?;
            }
        }
        let left = host.list(&self.folder());
        match left.iter().any(|name| name == "first" || name.ends_with(MACHINE_END)) {
            true => Ok(()),
            false => host.remove(&self.folder()),
        }
    }
}

fn keys(names: &[String]) -> Vec<String> {
    let of_machine = |name: &String| {
        let (key, end) = name.rsplit_once('.')?;
        (end == MACHINE_END).then(|| key.to_owned())
    };
    names.iter().filter_map(of_machine).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use minik_driver::{DriverError, NetworkMode, ScriptedHost};

    use super::*;
    use crate::command_line::tests::sample;

    #[derive(Default)]
    struct Fake {
        there: String,
        said: Vec<String>,
    }

    impl Console for Fake {
        fn say(&mut self, line: String) -> Result<String> {
            let answer = match line == "info network" {
                true => self.there.clone(),
                false => String::new(),
            };
            self.said.push(line);
            Ok(answer)
        }
        fn plug(&mut self, netdev: qmp::Netdev) -> Result<()> {
            // The order of the fields is the serializer's own affair.
            let fields = serde_json::to_value(&netdev).expect("plain data");
            let sorted: std::collections::BTreeMap<String, serde_json::Value> =
                serde_json::from_value(fields).expect("an object");
            self.said.push(serde_json::to_string(&sorted).expect("plain data"));
            Ok(())
        }
        fn complain(&self, line: &str, reason: &str) -> DriverError {
            let (machine, command) = ("dev".to_owned(), line.to_owned());
            DriverError::Monitor { machine, command, reason: reason.to_owned() }
        }
    }

    fn second() -> MachineSpec {
        let mut second = sample(NetworkMode::User);
        second.name = "dev-m02".to_owned();
        second.run_dir = "/run/dev-m02".into();
        second
    }

    #[test]
    fn machines_of_a_profile_share_a_folder_whoever_comes_first() {
        let host = ScriptedHost::new();
        let (first, second) = (sample(NetworkMode::User), second());
        let (first, second) = (Switch(&first), Switch(&second));
        assert_eq!(first.folder(), second.folder());
        assert!(first.is_first() && !second.is_first());

        let mut fake = Fake::default();
        host.file(second.sockets().0, "");
        first.plug_in(&host, &mut fake).expect("the script lets it");
        expect![[r#"
            info network
            {"id":"wire-f32b5ae1bb","local":{"type":"unix","path":"/run/sa109558b7c/f32b5ae1bb.hub"},"remote":{"type":"unix","path":"/run/sa109558b7c/f32b5ae1bb.machine"},"type":"dgram"}
            {"hubid":0,"id":"port-f32b5ae1bb","netdev":"wire-f32b5ae1bb","type":"hubport"}"#]].assert_eq(&fake.said.join("\n"));

        let mut same = Fake { there: format!("port-{}: x", second.key()), ..Fake::default() };
        second.plug_in(&host, &mut same).expect("the script lets it");
        assert_eq!(same.said, ["info network"]);
    }

    #[test]
    fn the_last_one_takes_the_folder_along() {
        let host = ScriptedHost::new();
        let (first, second) = (sample(NetworkMode::User), second());
        let (first, second) = (Switch(&first), Switch(&second));
        first.set_up(&host).expect("the script lets it");
        host.file(second.sockets().0, "").file(second.sockets().1, "");
        first.tear_down(&host).expect("the script lets it");
        assert!(host.exists(&second.sockets().0));
        second.tear_down(&host).expect("the script lets it");
        assert_eq!(host.files(), Vec::<String>::new());
        assert!(!host.exists(&first.folder()));
    }
}
