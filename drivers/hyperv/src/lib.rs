//! minik-hyperv: recognises Hyper-V. Machines on it are not available in this version: they need
//! the guest image laid out as a disk that boots by itself.

use minik_driver::{Accelerator, Host, Probe, RealHost, Result, Tool, UnavailableDriver};

/// Prints the version of the hypervisor's management module.
const ASK: &str = "(Get-Module -ListAvailable Hyper-V).Version.ToString()";

/// The Hyper-V driver.
pub struct Hyperv<H: Host = RealHost> {
    host: H,
}

impl<H: Host> Hyperv<H> {
    /// A driver on this host.
    pub fn new(host: H) -> Self {
        Self { host }
    }
}

impl<H: Host> UnavailableDriver for Hyperv<H> {
    const NAME: &'static str = "hyperv";
    const INSTEAD: &'static str = "the qemu driver runs machines on Linux, also in WSL";

    fn look(&self) -> Result<Probe> {
        let tool = Tool::new("powershell.exe").args(["-NoProfile", "-NonInteractive", "-c", ASK]);
        let output = self.host.run(&tool)?;
        Ok(Probe {
            accelerator: Accelerator::Native,
            version: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            warnings: vec![format!("Hyper-V is there, but {}", Self::INSTEAD)],
            reason: "its PowerShell module answered; nothing was started to try it".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use minik_driver::{Driver, DriverError, ScriptedHost};

    use super::*;

    #[test]
    fn is_missing_where_there_is_no_powershell() {
        let driver = Hyperv::new(ScriptedHost::new());
        let missing = driver.probe().expect_err("nothing is on this host");
        assert!(
            matches!(missing, DriverError::ToolMissing { tool, .. } if tool == "powershell.exe")
        );
    }
}
