//! The names of a machine's files.
//!
//! ```text
//! dir/       machine.json   what must be remembered    data.qcow2   the disk
//!            console.log    what the guest printed     agent.log    what its agent said
//!            qemu.log       QEMU's complaints          command      how it was started, to read
//! run_dir/   qmp.sock  agent.sock  qemu.pid      beside it: the profile's switch
//! ```

use std::path::PathBuf;

use minik_driver::{DriverError, MachineSpec, Result};

use crate::switch::Switch;

/// The longest path a socket may have: 108 bytes with the zero at its end.
const SOCKET_PATH_MAX: usize = 107;

pub(crate) struct Files<'a>(pub(crate) &'a MachineSpec);

impl Files<'_> {
    pub(crate) fn record(&self) -> PathBuf {
        self.0.dir.join("machine.json")
    }
    pub(crate) fn data_disk(&self) -> PathBuf {
        self.0.dir.join("data.qcow2")
    }
    pub(crate) fn console(&self) -> PathBuf {
        self.0.dir.join("console.log")
    }
    pub(crate) fn agent_log(&self) -> PathBuf {
        self.0.dir.join("agent.log")
    }
    pub(crate) fn qemu_log(&self) -> PathBuf {
        self.0.dir.join("qemu.log")
    }
    pub(crate) fn command(&self) -> PathBuf {
        self.0.dir.join("command")
    }
    pub(crate) fn monitor(&self) -> PathBuf {
        self.0.run_dir.join("qmp.sock")
    }
    pub(crate) fn agent(&self) -> PathBuf {
        self.0.run_dir.join("agent.sock")
    }
    pub(crate) fn pid(&self) -> PathBuf {
        self.0.run_dir.join("qemu.pid")
    }

    /// Refuses what the system would refuse later with less to say.
    pub(crate) fn check_socket_paths(&self) -> Result<()> {
        for path in [self.monitor(), self.agent(), Switch(self.0).sockets().0] {
            let length = path.as_os_str().len();
            if length > SOCKET_PATH_MAX {
                return Err(DriverError::SocketPathTooLong {
                    path,
                    length,
                    limit: SOCKET_PATH_MAX,
                });
            }
        }
        Ok(())
    }
}
