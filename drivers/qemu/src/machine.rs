//! The driver: each verb looks at what is there, decides, and does the rest.
//!
//! ```text
//! create   folders, disk, record          (each skipped when there)
//! start    create → network → QEMU → record → forwards of before
//! stop     agent or power button → wait → by force → tidy up
//! delete   by force → tidy up → folders
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use minik_driver::{
    Accelerator, Created, Driver, DriverError, End, Forward, GuestFacts, Host, MachineSpec,
    MachineState, NetworkChoice, NetworkMode, Probe, ProcessRecord, RealHost, Result, Started,
    Stopped,
};

use crate::agent::{Agent, NoAnswer};
use crate::binary::{self, Binaries};
use crate::command_line::{Engine, Launch};
use crate::engine::{self, Chosen};
use crate::files::Files;
use crate::monitor::Monitor;
use crate::record::MachineRecord;
use crate::switch::Switch;
use crate::version::{DATAGRAMS, SOUND_EMULATION};
use crate::{disk, forwards, launch, network};

/// How long the agent may take to say that it switches off. It answers at once or never.
const POWER_OFF_ANSWER: Duration = Duration::from_secs(5);
/// How long QEMU may take to write its disks and end when told to.
const QUIT: Duration = Duration::from_secs(10);

/// Where the driver finds and keeps things.
#[derive(Clone, Debug, Default)]
pub struct QemuConfig {
    /// The program `qemu-system-x86_64` to use. The environment's `MINIK_QEMU` goes before it.
    pub binary: Option<PathBuf>,
    /// Folders that may hold a `qemu-system-x86_64`, looked at before PATH.
    pub tool_dirs: Vec<PathBuf>,
    /// Where results of trials are kept. May be deleted at any time.
    pub cache_dir: PathBuf,
    /// The user's choice of accelerator; `None` takes the best that works.
    pub accelerator: Option<Accelerator>,
}

/// Machines on QEMU.
pub struct QemuDriver<H: Host = RealHost> {
    host: H,
    config: QemuConfig,
    tools: OnceLock<Binaries>,
    chosen: OnceLock<Chosen>,
}

impl<H: Host> QemuDriver<H> {
    /// A driver on this host. Looks at nothing yet.
    pub fn new(host: H, config: QemuConfig) -> Self {
        Self { host, config, tools: OnceLock::new(), chosen: OnceLock::new() }
    }

    fn tools(&self) -> Result<&Binaries> {
        if let Some(tools) = self.tools.get() {
            return Ok(tools);
        }
        let QemuConfig { binary, tool_dirs, .. } = &self.config;
        let tools = binary::find(&self.host, binary.as_deref(), tool_dirs)?;
        Ok(self.tools.get_or_init(|| tools))
    }

    fn chosen(&self) -> Result<&Chosen> {
        if let Some(chosen) = self.chosen.get() {
            return Ok(chosen);
        }
        let QemuConfig { cache_dir, accelerator, .. } = &self.config;
        let chosen = engine::choose(&self.host, self.tools()?, cache_dir, *accelerator)?;
        Ok(self.chosen.get_or_init(|| chosen))
    }

    /// The machine's process and record as they are now.
    fn look(&self, spec: &MachineSpec) -> Result<(Option<MachineRecord>, Option<ProcessRecord>)> {
        let record = MachineRecord::load(&self.host, spec)?;
        let process = launch::running(&self.host, spec, record.as_ref())?;
        Ok((record, process))
    }

    /// What the monitor says about a running machine. One that does not answer runs all the same.
    fn state_of_running(spec: &MachineSpec) -> MachineState {
        match Monitor::connect(spec).and_then(|mut monitor| monitor.state()) {
            Ok(state) => state,
            Err(error) => {
                tracing::debug!(machine = spec.name, %error, "the monitor does not answer");
                MachineState::Running
            }
        }
    }

    fn not_running(&self, spec: &MachineSpec, record: Option<&MachineRecord>) -> DriverError {
        let state = match record {
            Some(_) => MachineState::Stopped,
            None => MachineState::Nonexistent,
        };
        DriverError::NotRunning { machine: spec.name.clone(), state }
    }

    fn check_version(&self, spec: &MachineSpec, chosen: &Chosen) -> Result<()> {
        let tools = self.tools()?;
        let wired = spec.network.mode == NetworkMode::User && !Switch(spec).is_first();
        if wired && tools.version < DATAGRAMS {
            let (version, needs) = (tools.version.to_string(), DATAGRAMS.to_string());
            return Err(DriverError::EmulatorTooOld { version, needs });
        }
        let emulated = chosen.engine == Engine::Emulation;
        if emulated && tools.version < SOUND_EMULATION && spec.cpus > 1 {
            return Err(DriverError::EmulatorUnsound {
                version: tools.version.to_string(),
                cpus: spec.cpus,
                needs: SOUND_EMULATION.to_string(),
            });
        }
        Ok(())
    }

    /// Whether a running QEMU is one to go on with. Some systems remove a user's run folder at logout,
    /// and its sockets with it; ending the machine is all that is left then, and its disks can take
    /// that. A QEMU that nobody recorded may be about to end, because the start it belongs to was
    /// killed before it was in the background; only when it answers it is there to stay.
    fn can_be_talked_to(
        &self,
        spec: &MachineSpec,
        record: &MachineRecord,
        process: &ProcessRecord,
    ) -> bool {
        match record.process.as_ref() == Some(process) {
            true => self.host.exists(&Files(spec).monitor()),
            false => Monitor::connect(spec).is_ok(),
        }
    }

    /// A machine that runs already: one that was paused, for want of disk space say, goes on.
    fn started_already(
        &self,
        spec: &MachineSpec,
        mut record: MachineRecord,
        process: ProcessRecord,
    ) -> Result<Started> {
        let mut recovered = None;
        if record.process.as_ref() != Some(&process) {
            recovered = Some(format!("process {} of an interrupted start was found", process.pid));
            record.process = Some(process);
            record.save(&self.host, spec)?;
        }
        match Self::state_of_running(spec) {
            MachineState::Paused | MachineState::Broken { .. } => {
                Monitor::connect(spec)?.resume()?;
                recovered = Some("it was paused and goes on".to_owned());
            }
            MachineState::Running | MachineState::Stopped | MachineState::Nonexistent => {}
        }
        let accelerator = match record.accelerator {
            Some(accelerator) => accelerator,
            None => self.chosen()?.accelerator(),
        };
        let warnings = self.connect(spec, &mut record)?;
        Ok(Started { accelerator, already_running: true, recovered, warnings })
    }

    /// Plugs a running machine into the profile's switch. A switch that is not running will look for
    /// its machines when it starts.
    fn join_switch(&self, spec: &MachineSpec) -> Result<()> {
        let switch = Switch(spec);
        match switch.monitor(&self.host) {
            Ok(mut monitor) => switch.plug_in(&self.host, &mut monitor),
            Err(error) if switch.is_first() => Err(error),
            Err(error) => {
                tracing::debug!(machine = spec.name, %error, "the first machine is not running");
                Ok(())
            }
        }
    }

    /// Makes the forwards of before again, on the same ports where these are free.
    fn restore_forwards(
        &self,
        spec: &MachineSpec,
        record: &mut MachineRecord,
    ) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        if record.forwards.is_empty() {
            return Ok(warnings);
        }
        let mut monitor = Monitor::connect(spec)?;
        for Forward { guest_port, host } in std::mem::take(&mut record.forwards) {
            let made = forwards::ensure(&mut monitor, spec, guest_port, Some(host.port()))?;
            if made.host != host {
                let now = made.host;
                warnings.push(format!(
                    "{host} is taken, port {guest_port} of the machine is at {now} now"
                ));
            }
            record.remember(made);
        }
        record.save(&self.host, spec)?;
        Ok(warnings)
    }

    /// What a machine without an address on the host needs of the others, once it runs.
    fn connect(&self, spec: &MachineSpec, record: &mut MachineRecord) -> Result<Vec<String>> {
        match spec.network.mode {
            NetworkMode::Tap => Ok(Vec::new()),
            NetworkMode::User => {
                self.join_switch(spec)?;
                self.restore_forwards(spec, record)
            }
        }
    }

    /// Asks the guest to switch off: its agent first, which answers; else by the power button.
    fn ask_to_power_off(&self, spec: &MachineSpec, deadline: Duration) -> bool {
        let answer = POWER_OFF_ANSWER.min(deadline);
        match Agent::connect(spec).map_err(NoAnswer::Failed).and_then(|mut a| a.power_off(answer)) {
            Ok(()) | Err(NoAnswer::Closed) => return true,
            Err(NoAnswer::Late) => tracing::debug!(machine = spec.name, "the agent is silent"),
            Err(NoAnswer::Failed(error)) => {
                tracing::debug!(machine = spec.name, %error, "no agent")
            }
        }
        let pressed = Monitor::connect(spec).and_then(|mut monitor| monitor.press_power_button());
        pressed.is_ok()
    }

    /// Ends the process: politely, so that QEMU writes what it holds, then not.
    fn force(&self, spec: &MachineSpec, process: &ProcessRecord, polite: bool) -> Result<()> {
        if polite {
            self.host.end(process, End::Ask)?;
            if self.host.wait_gone(process, QUIT)? {
                return Ok(());
            }
        }
        self.host.end(process, End::Force)?;
        if self.host.wait_gone(process, QUIT)? {
            return Ok(());
        }
        Err(DriverError::WillNotDie { machine: spec.name.clone(), pid: process.pid })
    }

    /// After the process is gone: what only a running machine needs is removed, and the record
    /// says that there is none.
    fn tidy_up(&self, spec: &MachineSpec, record: Option<MachineRecord>) -> Result<()> {
        let files = Files(spec);
        for file in [files.monitor(), files.agent(), files.pid()] {
            self.host.remove(&file)?;
        }
        network::unplug(&self.host, spec)?;
        match record {
            Some(mut record) if record.process.is_some() => {
                record.process = None;
                record.save(&self.host, spec)
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl<H: Host> Driver for QemuDriver<H> {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn probe(&self) -> Result<Probe> {
        let (tools, chosen) = (self.tools()?, self.chosen()?);
        Ok(Probe {
            accelerator: chosen.accelerator(),
            version: tools.said.clone(),
            warnings: chosen.warnings.clone(),
            reason: format!("{}; {}", tools.system.display(), chosen.reason),
        })
    }

    fn choose_network(&self, wanted: Option<NetworkMode>) -> Result<NetworkChoice> {
        network::choose(&self.host, wanted)
    }

    fn create(&self, spec: &MachineSpec) -> Result<Created> {
        disk::create(&self.host, self.tools()?, spec)
    }

    fn start(&self, spec: &MachineSpec) -> Result<Started> {
        let mut lost = None;
        if let (record, Some(process)) = self.look(spec)? {
            let record = record.unwrap_or_else(|| MachineRecord::new(spec.disk_mib));
            if self.can_be_talked_to(spec, &record, &process) {
                return self.started_already(spec, record, process);
            }
            self.force(spec, &process, true)?;
            self.tidy_up(spec, Some(record))?;
            lost = Some("it ran but could not be talked to, so it was restarted".to_owned());
        }
        let chosen = self.chosen()?;
        self.check_version(spec, chosen)?;
        self.create(spec)?;
        let mut record = MachineRecord::load(&self.host, spec)?
            .unwrap_or_else(|| MachineRecord::new(spec.disk_mib));
        let recovered = record
            .process
            .take()
            .map(|process| format!("process {} had ended without `minik stop`", process.pid))
            .or(lost);
        network::set_up(&self.host, spec)?;
        let how = Launch {
            engine: chosen.engine.clone(),
            version: self.tools()?.version,
            sandbox: chosen.sandbox,
            vhost_net: self.host.try_open("/dev/vhost-net".as_ref()).is_ok(),
        };
        record.process = Some(launch::launch(&self.host, self.tools()?, spec, &how)?);
        record.accelerator = Some(chosen.accelerator());
        record.save(&self.host, spec)?;
        let warnings = self.connect(spec, &mut record)?;
        let accelerator = chosen.accelerator();
        Ok(Started { accelerator, already_running: false, recovered, warnings })
    }

    fn wait_ready(&self, spec: &MachineSpec, deadline: Duration) -> Result<GuestFacts> {
        let (record, process) = self.look(spec)?;
        if process.is_none() {
            // Between start and now a guest that panicked has ended its QEMU.
            return Err(match record {
                Some(record) if record.process.is_some() => launch::died(&self.host, spec),
                record => self.not_running(spec, record.as_ref()),
            });
        }
        let not_ready = || DriverError::NotReady {
            machine: spec.name.clone(),
            waited: deadline,
            console: Files(spec).console(),
            console_tail: launch::console_tail(&self.host, spec),
        };
        let facts = Agent::connect(spec)
            .map_err(NoAnswer::Failed)
            .and_then(|mut agent| agent.ready(deadline))
            .map_err(|why| match why {
                NoAnswer::Late => not_ready(),
                NoAnswer::Closed => launch::died(&self.host, spec),
                NoAnswer::Failed(error) => error,
            })?;
        Monitor::connect(spec)?.allow_reboots()?;
        Ok(facts)
    }

    fn stop(&self, spec: &MachineSpec, deadline: Duration) -> Result<Stopped> {
        let end = Instant::now() + deadline;
        let (record, process) = self.look(spec)?;
        let Some(process) = process else {
            self.tidy_up(spec, record)?;
            return Ok(Stopped::Already);
        };
        // A machine that stands still cannot switch itself off.
        let goes = Self::state_of_running(spec) == MachineState::Running;
        let left = || end.saturating_duration_since(Instant::now());
        let asked = goes && self.ask_to_power_off(spec, left());
        let stopped = if asked && self.host.wait_gone(&process, left())? {
            Stopped::Gracefully
        } else {
            self.force(spec, &process, true)?;
            Stopped::Killed
        };
        self.tidy_up(spec, record)?;
        Ok(stopped)
    }

    fn kill(&self, spec: &MachineSpec) -> Result<Stopped> {
        let (record, process) = self.look(spec)?;
        let stopped = match process {
            Some(process) => {
                self.force(spec, &process, false)?;
                Stopped::Killed
            }
            None => Stopped::Already,
        };
        self.tidy_up(spec, record)?;
        Ok(stopped)
    }

    fn delete(&self, spec: &MachineSpec) -> Result<()> {
        // A damaged record must not keep a machine from being deleted; its pid file still tells
        // which process it is.
        let record = MachineRecord::load(&self.host, spec).unwrap_or_else(|error| {
            tracing::debug!(machine = spec.name, %error, "deleting without the record");
            None
        });
        if let Some(process) = launch::running(&self.host, spec, record.as_ref())? {
            self.force(spec, &process, false)?;
        }
        self.tidy_up(spec, None)?;
        network::tear_down(&self.host, spec)?;
        self.host.remove(&spec.run_dir)?;
        self.host.remove(&spec.dir)
    }

    fn state(&self, spec: &MachineSpec) -> Result<MachineState> {
        Ok(match self.look(spec)? {
            (_, Some(_)) => Self::state_of_running(spec),
            (Some(_), None) => MachineState::Stopped,
            (None, None) => MachineState::Nonexistent,
        })
    }

    fn endpoint(&self, spec: &MachineSpec, guest_port: u16) -> Result<SocketAddr> {
        let (record, process) = self.look(spec)?;
        let (Some(mut record), Some(_)) = (record.clone(), process) else {
            return Err(self.not_running(spec, record.as_ref()));
        };
        if spec.network.mode == NetworkMode::Tap {
            return Ok((spec.network.address, guest_port).into());
        }
        let known = record.forwards.iter().find(|known| known.guest_port == guest_port).copied();
        let preferred = known.map(|known| known.host.port());
        let made = match (Monitor::connect(spec), known) {
            (Ok(mut monitor), _) => forwards::ensure(&mut monitor, spec, guest_port, preferred)?,
            // A machine whose sockets were removed still has the forwards it had.
            (Err(_), Some(known)) => known,
            (Err(error), None) => return Err(error),
        };
        if Some(made) != known {
            record.remember(made);
            record.save(&self.host, spec)?;
        }
        Ok(made.host)
    }
}

#[cfg(test)]
mod tests;
