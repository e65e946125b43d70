//! minik-virtualbox: recognises VirtualBox. Machines on it are not available in this version: they
//! need the guest image laid out as a disk that boots by itself.

use minik_driver::{Accelerator, Host, Probe, RealHost, Result, Tool, UnavailableDriver};

/// The VirtualBox driver.
pub struct Virtualbox<H: Host = RealHost> {
    host: H,
}

impl<H: Host> Virtualbox<H> {
    /// A driver on this host.
    pub fn new(host: H) -> Self {
        Self { host }
    }
}

impl<H: Host> UnavailableDriver for Virtualbox<H> {
    const NAME: &'static str = "virtualbox";
    const INSTEAD: &'static str = "the qemu driver runs machines on Linux";

    fn look(&self) -> Result<Probe> {
        let output = self.host.run(&Tool::new("VBoxManage").args(["--version"]))?;
        let said = String::from_utf8_lossy(&output.stdout);
        // A missing kernel module is complained about before the version.
        let version = said.lines().last().unwrap_or_default().trim().to_owned();
        Ok(Probe {
            accelerator: Accelerator::Native,
            version,
            warnings: vec![format!("VirtualBox is installed, but {}", Self::INSTEAD)],
            reason: "`VBoxManage --version` answered; nothing was started to try it".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use minik_driver::{Driver, ScriptedHost};

    use super::*;

    #[test]
    fn is_recognised_below_its_complaints() {
        let host = ScriptedHost::new();
        host.answer("VBoxManage --version", "WARNING: no kernel module\n7.0.20r163906\n");
        let driver = Virtualbox::new(host);
        assert_eq!(driver.probe().expect("it answers").version, "7.0.20r163906");
        let refused = driver.choose_network(None).expect_err("not in this version");
        assert!(refused.to_string().starts_with("the virtualbox driver is not available"));
    }
}
