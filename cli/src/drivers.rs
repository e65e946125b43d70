//! The one list of drivers.

use minik_driver::{Driver, RealHost};
use minik_qemu::{QemuConfig, QemuDriver};

use crate::context::Context;
use crate::exit::Exit;
use crate::report::Report;

/// The driver of clusters for which none was chosen.
pub(crate) const DEFAULT: &str = "qemu";

/// Names that `--driver` takes.
const NAMES: &[&str] = &["qemu", "libvirt", "hyperv", "virtualbox", "none"];

/// A driver's own name for what its users and minikube's call it.
pub(crate) fn canonical(name: &str) -> Result<&'static str, Report> {
    Ok(match name {
        "qemu" | "qemu2" | "auto" | "" => "qemu",
        "libvirt" | "kvm" | "kvm2" => "libvirt",
        "hyperv" => "hyperv",
        "virtualbox" | "vbox" => "virtualbox",
        "none" => "none",
        other => {
            return Err(Report::new(
                "DRV_UNSUPPORTED_DRIVER",
                Exit::DRIVER_UNSUPPORTED,
                format!("there is no driver named `{other}`"),
            )
            .advise(format!("the drivers are {}", NAMES.join(", "))));
        }
    })
}

/// The driver of that name.
pub(crate) fn named(ctx: &Context, name: &str) -> Result<Box<dyn Driver>, Report> {
    Ok(match canonical(name)? {
        "libvirt" => Box::new(minik_libvirt::Libvirt::new(RealHost)),
        "hyperv" => Box::new(minik_hyperv::Hyperv::new(RealHost)),
        "virtualbox" => Box::new(minik_virtualbox::Virtualbox::new(RealHost)),
        "none" => Box::new(minik_none::NoMachine::new(RealHost)),
        _ => Box::new(QemuDriver::new(
            RealHost,
            QemuConfig {
                binary: ctx.config()?.get("qemu-binary").map(Into::into),
                tool_dirs: Vec::new(),
                cache_dir: ctx.folders.cache.join("qemu"),
                accelerator: None,
            },
        )),
    })
}
