//! minik-none: would run the node on this very computer, without a machine around it. Not
//! available in this version, as it changes the host's own network and systemd.

use std::path::Path;

use minik_driver::{
    Accelerator, DriverError, Host, Probe, RealHost, Result, Tool, UnavailableDriver,
};

/// The driver without machines.
pub struct NoMachine<H: Host = RealHost> {
    host: H,
}

impl<H: Host> NoMachine<H> {
    /// A driver on this host.
    pub fn new(host: H) -> Self {
        Self { host }
    }
}

impl<H: Host> UnavailableDriver for NoMachine<H> {
    const NAME: &'static str = "none";
    const INSTEAD: &'static str = "the qemu driver runs the node in a machine, also without root";

    fn look(&self) -> Result<Probe> {
        if !self.host.exists(Path::new("/run/systemd/system")) {
            let looked_in = vec!["/run/systemd/system".into()];
            return Err(DriverError::ToolMissing { tool: "systemd".to_owned(), looked_in });
        }
        let output = self.host.run(&Tool::new("uname").args(["-r"]))?;
        Ok(Probe {
            accelerator: Accelerator::Native,
            version: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            warnings: vec![format!("the host could be a node, but {}", Self::INSTEAD)],
            reason: "the host runs systemd; nothing was changed to try it".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use minik_driver::{Driver, ScriptedHost};

    use super::*;

    #[test]
    fn needs_systemd_and_refuses_to_work() {
        let driver = NoMachine::new(ScriptedHost::new());
        let missing = driver.probe().expect_err("nothing is on this host");
        assert_eq!(
            missing.to_string(),
            "`systemd` was not found on PATH nor in /run/systemd/system"
        );
        let refused = driver.choose_network(None).expect_err("not in this version");
        assert!(refused.to_string().starts_with("the none driver is not available"));
    }
}
