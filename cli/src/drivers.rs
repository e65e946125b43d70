//! The one list of drivers.

use std::path::{Path, PathBuf};

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
                tool_dirs: tool_folders(std::env::current_exe().ok().as_deref()),
                cache_dir: ctx.folders.cache.join("qemu"),
                accelerator: None,
            },
        )),
    })
}

/// Where a QEMU of ours may be: installed beside minik, or fetched into the source tree it was built in.
fn tool_folders(program: Option<&Path>) -> Vec<PathBuf> {
    let folder = |up: usize| program.and_then(|program| program.ancestors().nth(up));
    let installed = folder(2).map(|prefix| prefix.join("lib/minik/qemu/bin"));
    let fetched = folder(3).map(|tree| tree.join("out/tools/qemu/bin"));
    installed.into_iter().chain(fetched).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_qemu_is_looked_for_beside_minik() {
        let folders = tool_folders(Some(Path::new("/src/target/release/minik")));
        let expected = ["/src/target/lib/minik/qemu/bin", "/src/out/tools/qemu/bin"];
        assert_eq!(folders, expected.map(PathBuf::from));
        assert!(tool_folders(None).is_empty());
    }

    #[test]
    fn drivers_answer_to_minikubes_names() {
        assert_eq!(canonical("kvm2").ok(), Some("libvirt"));
        assert_eq!(canonical("qemu2").ok(), Some("qemu"));
        assert_eq!(canonical("qmeu").unwrap_err().exit, Exit::DRIVER_UNSUPPORTED);
    }
}
