//! minik-libvirt: recognises libvirt. Machines on it are not available in this version; the crate
//! that links libvirt comes with them, so that `minik` starts where libvirt is absent.

use minik_driver::{Accelerator, Host, Probe, RealHost, Result, Tool, UnavailableDriver};

/// The libvirt driver.
pub struct Libvirt<H: Host = RealHost> {
    host: H,
}

impl<H: Host> Libvirt<H> {
    /// A driver on this host.
    pub fn new(host: H) -> Self {
        Self { host }
    }
}

impl<H: Host> UnavailableDriver for Libvirt<H> {
    const NAME: &'static str = "libvirt";
    const INSTEAD: &'static str = "the qemu driver runs machines with the same QEMU and KVM";

    fn look(&self) -> Result<Probe> {
        let output = self.host.run(&Tool::new("virsh").args(["--version"]))?;
        Ok(Probe {
            accelerator: Accelerator::Kvm,
            version: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            warnings: vec![format!("libvirt is installed, but {}", Self::INSTEAD)],
            reason: "`virsh --version` answered; nothing was started to try it".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use minik_driver::{Driver, ScriptedHost};

    use super::*;

    #[test]
    fn is_recognised_but_refuses_to_work() {
        let host = ScriptedHost::new();
        host.answer("virsh --version", "9.0.0\n");
        let driver = Libvirt::new(host);
        assert_eq!(driver.probe().expect("virsh answers").version, "9.0.0");
        let refused = driver.choose_network(None).expect_err("not in this version");
        assert!(
            refused.to_string().starts_with("the libvirt driver is not available"),
            "{refused}"
        );
    }
}
