//! QEMU's monitor: one connection per question, each answer within a deadline.

mod filter;

use std::io::{self, BufRead};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use minik_driver::{DriverError, MachineSpec, MachineState, Result};
use qapi::{Command, ExecuteError, Qmp, Stream, qmp};

use crate::files::Files;
use filter::WithoutEvents;

/// The monitor answers at once, unless another program talks to it or the host is overloaded.
const DEADLINE: Duration = Duration::from_secs(10);

/// A connection to the monitor of a running machine.
pub(crate) struct Monitor {
    qmp: Qmp<Stream<WithoutEvents<UnixStream>, UnixStream>>,
    machine: String,
}

impl Monitor {
    pub(crate) fn connect(spec: &MachineSpec) -> Result<Self> {
        let failed = |error: io::Error| refused(&spec.name, "connect", &error.to_string());
        let stream = UnixStream::connect(Files(spec).monitor()).map_err(failed)?;
        Self::on(stream, &spec.name)
    }

    fn on(stream: UnixStream, machine: &str) -> Result<Self> {
        let failed = |error: io::Error| refused(machine, "greet", &error.to_string());
        stream.set_read_timeout(Some(DEADLINE)).map_err(failed)?;
        stream.set_write_timeout(Some(DEADLINE)).map_err(failed)?;
        let mut reader = WithoutEvents::new(stream.try_clone().map_err(failed)?);
        // The library takes a greeting for granted.
        if reader.fill_buf().map_err(failed)?.is_empty() {
            return Err(refused(machine, "greet", "it closed the connection"));
        }
        let mut qmp = Qmp::new(Stream::new(reader, stream));
        qmp.handshake().map_err(|e| refused(machine, "greet", &e.to_string()))?;
        Ok(Self { qmp, machine: machine.to_owned() })
    }

    fn execute<C: Command>(&mut self, command: &C) -> Result<C::Ok> {
        self.qmp.execute(command).map_err(|error| {
            let reason = match error {
                ExecuteError::Qapi(error) => error.desc,
                ExecuteError::Io(error) => error.to_string(),
            };
            refused(&self.machine, C::NAME, &reason)
        })
    }

    /// What the machine is doing, and what is wrong with it if something is.
    pub(crate) fn state(&mut self) -> Result<MachineState> {
        let status = self.execute(&qmp::query_status {})?.status;
        let why = match status {
            qmp::RunState::io_error => self.disk_trouble()?,
            qmp::RunState::internal_error => "the accelerator failed".to_owned(),
            qmp::RunState::guest_panicked => "the guest's kernel panicked".to_owned(),
            qmp::RunState::watchdog => "the guest's watchdog fired".to_owned(),
            qmp::RunState::paused
            | qmp::RunState::debug
            | qmp::RunState::prelaunch
            | qmp::RunState::suspended
            | qmp::RunState::postmigrate => return Ok(MachineState::Paused),
            qmp::RunState::running
            | qmp::RunState::shutdown
            | qmp::RunState::inmigrate
            | qmp::RunState::finish_migrate
            | qmp::RunState::restore_vm
            | qmp::RunState::save_vm
            | qmp::RunState::colo => return Ok(MachineState::Running),
        };
        Ok(MachineState::Broken { reason: why })
    }

    fn disk_trouble(&mut self) -> Result<String> {
        let disks = self.execute(&qmp::query_block {})?;
        let full = disks
            .iter()
            .any(|disk| matches!(disk.io_status, Some(qmp::BlockDeviceIoStatus::nospace)));
        Ok(match full {
            true => "no space is left on the host for its disk".to_owned(),
            false => "its disk cannot be read or written".to_owned(),
        })
    }

    /// Lets a machine that was paused go on.
    pub(crate) fn resume(&mut self) -> Result<()> {
        self.execute(&qmp::cont {}).map(drop)
    }

    /// Presses the power button.
    pub(crate) fn press_power_button(&mut self) -> Result<()> {
        self.execute(&qmp::system_powerdown {}).map(drop)
    }

    /// From now on a guest that reboots does so, instead of ending the machine.
    pub(crate) fn allow_reboots(&mut self) -> Result<()> {
        let reboot = Some(qmp::RebootAction::reset);
        self.execute(&qmp::set_action { reboot, shutdown: None, panic: None, watchdog: None })
            .map(drop)
    }

    /// Adds a network device.
    pub(crate) fn add_netdev(&mut self, netdev: qmp::Netdev) -> Result<()> {
        self.execute(&qmp::netdev_add(netdev)).map(drop)
    }

    /// A command of the monitor for people, which for some things is the only one. Says nothing
    /// when it worked and complains in prose when not.
    pub(crate) fn human(&mut self, command_line: String) -> Result<String> {
        self.execute(&qmp::human_monitor_command { cpu_index: None, command_line })
    }

    pub(crate) fn complain(&self, command: &str, reason: &str) -> DriverError {
        refused(&self.machine, command, reason)
    }
}

fn refused(machine: &str, command: &str, reason: &str) -> DriverError {
    let (machine, command, reason) = (machine.to_owned(), command.to_owned(), reason.to_owned());
    DriverError::Monitor { machine, command, reason }
}

#[cfg(test)]
mod tests;
