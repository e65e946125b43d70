//! What tests of this crate share: a driver, images and a host made of answers, and a home for them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use minik_driver::{
    Accelerator, BootFiles, Created, Driver, GuestFacts, MachineSpec, MachineState, NetworkChoice,
    NetworkMode, Probe, ScriptedHost, Started, Stopped,
};
use minik_spec::{ClusterSpec, ImageChoice, ProfileName, Request, resolve};

use crate::error::{ProvisionError, Result};
use crate::report::{Outcome, Reporter, Step};
use crate::shell::scripted::{ScriptedGuest, ScriptedNetwork};
use crate::state::Folders;
use crate::{GuestImage, Images, KubeconfigFiles, NodeBinary, StartOptions, Tools};

/// A cluster with defaults on a middling host.
pub(crate) fn spec(profile: &str, nodes: u32) -> ClusterSpec {
    let host = minik_driver::HostResources {
        cpus: 4,
        memory_mib: 16_000,
        memory_available_mib: 8000,
        disk_free_mib: 50_000,
    };
    let request = Request { nodes: Some(nodes), ..Request::default() };
    resolve(&profile.parse().unwrap(), &request, None, &host, "scripted").unwrap().spec
}

/// A driver whose machines are a word each.
#[derive(Debug, Default)]
pub(crate) struct ScriptedDriver {
    machines: Mutex<BTreeMap<String, MachineState>>,
    calls: Mutex<Vec<String>>,
    /// What `wait_ready` answers instead of the machine's name.
    pub(crate) hostname: Mutex<Option<String>>,
}

impl ScriptedDriver {
    fn said(&self, verb: &str, spec: &MachineSpec) {
        self.calls.lock().unwrap().push(format!("{verb} {}", spec.name));
    }

    pub(crate) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    pub(crate) fn machines(&self) -> BTreeMap<String, MachineState> {
        self.machines.lock().unwrap().clone()
    }

    fn set(&self, spec: &MachineSpec, state: MachineState) -> Option<MachineState> {
        self.machines.lock().unwrap().insert(spec.name.clone(), state)
    }
}

impl Driver for ScriptedDriver {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn probe(&self) -> minik_driver::Result<Probe> {
        Ok(Probe {
            accelerator: Accelerator::Kvm,
            version: "1".to_owned(),
            warnings: Vec::new(),
            reason: "the script says so".to_owned(),
        })
    }

    fn choose_network(&self, wanted: Option<NetworkMode>) -> minik_driver::Result<NetworkChoice> {
        let mode = wanted.unwrap_or(NetworkMode::Tap);
        Ok(NetworkChoice { mode, reason: "the script says so".to_owned() })
    }

    fn create(&self, spec: &MachineSpec) -> minik_driver::Result<Created> {
        if self.machines.lock().unwrap().contains_key(&spec.name) {
            return Ok(Created::AlreadyThere);
        }
        self.said("create", spec);
        self.set(spec, MachineState::Stopped);
        Ok(Created::New)
    }

    fn start(&self, spec: &MachineSpec) -> minik_driver::Result<Started> {
        let already_running = self.set(spec, MachineState::Running) == Some(MachineState::Running);
        if !already_running {
            self.said("start", spec);
        }
        Ok(Started {
            accelerator: Accelerator::Kvm,
            already_running,
            recovered: None,
            warnings: Vec::new(),
        })
    }

    fn wait_ready(&self, spec: &MachineSpec, _: Duration) -> minik_driver::Result<GuestFacts> {
        let hostname = self.hostname.lock().unwrap().clone();
        Ok(GuestFacts {
            hostname: hostname.unwrap_or_else(|| spec.name.clone()),
            addresses: Vec::new(),
            ssh_host_key: String::new(),
            boot_id: String::new(),
            uptime_ms: 1,
            machine_id: String::new(),
        })
    }

    fn stop(&self, spec: &MachineSpec, _: Duration) -> minik_driver::Result<Stopped> {
        if self.state(spec)? != MachineState::Running {
            return Ok(Stopped::Already);
        }
        self.said("stop", spec);
        self.set(spec, MachineState::Stopped);
        Ok(Stopped::Gracefully)
    }

    fn kill(&self, spec: &MachineSpec) -> minik_driver::Result<Stopped> {
        self.stop(spec, Duration::ZERO)
    }

    fn delete(&self, spec: &MachineSpec) -> minik_driver::Result<()> {
        self.said("delete", spec);
        self.machines.lock().unwrap().remove(&spec.name);
        Ok(())
    }

    fn state(&self, spec: &MachineSpec) -> minik_driver::Result<MachineState> {
        let machines = self.machines.lock().unwrap();
        Ok(machines.get(&spec.name).cloned().unwrap_or(MachineState::Nonexistent))
    }

    fn endpoint(&self, spec: &MachineSpec, port: u16) -> minik_driver::Result<SocketAddr> {
        Ok((spec.network.address, port).into())
    }
}

struct ScriptedImages;

impl Images for ScriptedImages {
    fn boot(&self, choice: &ImageChoice) -> Result<GuestImage> {
        let file = |name: &str| PathBuf::from("/image").join(name);
        let files = BootFiles {
            vmlinux: file("vmlinux"),
            vmlinuz: file("vmlinuz"),
            initrd: file("initrd"),
            root: file("root"),
            docker: None,
            cmdline: Vec::new(),
        };
        let id = choice.pinned.clone().unwrap_or_else(|| "image-1".to_owned());
        Ok(GuestImage { files, id, fetched: choice.pinned.is_none() })
    }
}

/// Keeps what changed, and panics at a step of choice: a kill, as far as the next run can tell.
#[derive(Default)]
struct Watching {
    changed: Mutex<Vec<String>>,
    warnings: Mutex<Vec<String>>,
    die_before: Mutex<Option<&'static str>>,
}

impl Reporter for Watching {
    fn step(&self, step: &Step) {
        let fatal = *self.die_before.lock().unwrap();
        if fatal == Some(step.id) {
            std::panic::panic_any(Killed);
        }
    }

    fn done(&self, step: &Step, outcome: &Outcome, _: Duration) {
        if *outcome == Outcome::Changed {
            let machine = step.machine.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
            self.changed.lock().unwrap().push(format!("{}{machine}", step.id));
        }
    }

    fn info(&self, _: &str) {}

    fn warning(&self, message: &str) {
        self.warnings.lock().unwrap().push(message.to_owned());
    }
}

/// What a killed run ends with.
pub(crate) struct Killed;

/// A host with minik on it.
pub(crate) struct Lab {
    home: tempfile::TempDir,
    folders: Folders,
    pub(crate) driver: ScriptedDriver,
    host: ScriptedHost,
    network: ScriptedNetwork,
    reporter: Watching,
    pub(crate) kubeconfig: KubeconfigFiles,
    binary: NodeBinary,
}

impl Lab {
    /// With guests of these names behind the network.
    pub(crate) fn new(guests: &[&str]) -> Lab {
        let home = tempfile::tempdir().unwrap();
        let binary = home.path().join("minik-node");
        std::fs::write(&binary, "the node program").unwrap();
        let host = ScriptedHost::new();
        host.answer("ip -4 -j", "[]");
        let network = ScriptedNetwork::default();
        let lab = Lab {
            folders: Folders::below(home.path()),
            driver: ScriptedDriver::default(),
            host,
            network,
            reporter: Watching::default(),
            kubeconfig: KubeconfigFiles::at(vec![home.path().join("kubeconfig")]),
            binary: NodeBinary::at(binary),
            home,
        };
        guests.iter().fold(lab, |lab, name| lab.with_guest(name))
    }

    fn with_guest(mut self, name: &str) -> Lab {
        let guest = ScriptedGuest::default();
        guest.is_a_node(name);
        self.network.guests.insert(name.to_owned(), guest);
        self
    }

    pub(crate) fn guest(&self, name: &str) -> &ScriptedGuest {
        &self.network.guests[name]
    }

    pub(crate) fn tools(&self) -> Tools<'_> {
        Tools {
            folders: &self.folders,
            driver: &self.driver,
            host: &self.host,
            images: &ScriptedImages,
            connect: &self.network,
            reporter: &self.reporter,
            kubeconfig: &self.kubeconfig,
            node_binary: &self.binary,
            lock_patience: Duration::ZERO,
        }
    }

    pub(crate) fn start(&self, profile: &str, request: &Request) -> Result<crate::Started> {
        let name: ProfileName = profile.parse().unwrap();
        crate::start(&self.tools(), &name, request, &StartOptions::default())
    }

    /// A start that is killed just before a phase begins.
    pub(crate) fn start_killed_before(&self, phase: &'static str, profile: &str, nodes: u32) {
        *self.reporter.die_before.lock().unwrap() = Some(phase);
        let request = Request { nodes: Some(nodes), ..Request::default() };
        let run = std::panic::AssertUnwindSafe(|| self.start(profile, &request));
        let killed = std::panic::catch_unwind(run).is_err();
        assert!(killed, "the run did not come to {phase}");
        *self.reporter.die_before.lock().unwrap() = None;
    }

    /// What phases changed since the last time this was asked, sorted, as threads finish in any order.
    pub(crate) fn take_changed(&self) -> Vec<String> {
        let mut changed = std::mem::take(&mut *self.reporter.changed.lock().unwrap());
        changed.sort();
        changed
    }

    pub(crate) fn damage_profile(&self, name: &str) {
        let folder = self.folders.profile(&name.parse().unwrap());
        std::fs::write(folder.file(), "{").unwrap();
        // The scripted host and driver know of folders only what they are told.
        let list = self.driver.machines().into_keys();
        for machine in list {
            self.host.file(folder.machine(&machine).join("machine.json"), "");
        }
    }

    pub(crate) fn replace_program(&self, text: &str) {
        std::fs::write(self.home.path().join("minik-node"), text).unwrap();
    }

    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.reporter.warnings.lock().unwrap())
    }

    /// Every file below the home, relative to it; locks and the program left out.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.home.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let path = path.strip_prefix(self.home.path()).unwrap();
                    found.push(path.display().to_string());
                }
            }
        }
        found.retain(|path| !path.starts_with("data/locks") && path != "minik-node");
        found.sort();
        found
    }

    pub(crate) fn kubeconfig_text(&self) -> String {
        std::fs::read_to_string(self.home.path().join("kubeconfig")).unwrap_or_default()
    }
}

/// For tests that expect a failure: what failed, through all layers.
pub(crate) fn chain(err: &ProvisionError) -> String {
    let mut text = err.to_string();
    let mut next = std::error::Error::source(err);
    while let Some(source) = next {
        text += &format!(": {source}");
        next = source.source();
    }
    text
}
