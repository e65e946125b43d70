//! What must be remembered about a machine between commands: `machine.json`.

use minik_driver::{Accelerator, DriverError, Forward, Host, MachineSpec, ProcessRecord, Result};
use serde::{Deserialize, Serialize};

use crate::files::Files;

const VERSION: u32 = 1;

/// The content of `machine.json`. Holds no paths, so the folder can be moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MachineRecord {
    version: u32,
    /// Size of the data disk in MiB.
    pub(crate) disk_mib: u64,
    /// The QEMU that was started last, until it is known to have ended.
    #[serde(default)]
    pub(crate) process: Option<ProcessRecord>,
    /// What that QEMU runs the guest with.
    #[serde(default)]
    pub(crate) accelerator: Option<Accelerator>,
    /// Forwards that were asked for, to be made again at the next start.
    #[serde(default)]
    pub(crate) forwards: Vec<Forward>,
}

impl MachineRecord {
    pub(crate) fn new(disk_mib: u64) -> Self {
        let forwards = Vec::new();
        Self { version: VERSION, disk_mib, process: None, accelerator: None, forwards }
    }

    /// `None` when the machine was never made.
    pub(crate) fn load(host: &dyn Host, spec: &MachineSpec) -> Result<Option<Self>> {
        let path = Files(spec).record();
        if !host.exists(&path) {
            return Ok(None);
        }
        let text = host.read(&path)?;
        let damaged = |reason: String| DriverError::StateDamaged { path: path.clone(), reason };
        let record: Self = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        if record.version != VERSION {
            let version = record.version;
            return Err(damaged(format!(
                "version {version} is not {VERSION}, which this minik knows"
            )));
        }
        Ok(Some(record))
    }

    pub(crate) fn save(&self, host: &dyn Host, spec: &MachineSpec) -> Result<()> {
        let path = Files(spec).record();
        let text = serde_json::to_vec_pretty(self)
            .map_err(|e| DriverError::StateDamaged { path: path.clone(), reason: e.to_string() })?;
        host.write_atomic(&path, &text, 0o600)
    }

    /// Remembers a forward, instead of the one it replaces.
    pub(crate) fn remember(&mut self, forward: Forward) {
        self.forwards.retain(|known| known.guest_port != forward.guest_port);
        self.forwards.push(forward);
    }
}
