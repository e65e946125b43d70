//! What the machine is: size, names, versions.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use k8s_openapi::api::core::v1::NodeSystemInfo;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use minik_cri::v1;

use crate::spec::quantity::Resources;

/// Kept free for the node's own programs.
const RESERVED_MEMORY_BYTES: u64 = 100 << 20;

/// The machine, as far as it does not change while the kubelet runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Machine {
    pub(crate) capacity: Resources,
    pub(crate) allocatable: Resources,
    pub(crate) memory_bytes: u64,
    pub(crate) info: NodeSystemInfo,
}

impl Machine {
    /// Looks at the machine.
    pub(crate) fn read(root: &Path, pods_max: u32, runtime: &v1::VersionResponse) -> Self {
        let cpus = available_parallelism().map_or(1, usize::from);
        let meminfo = text("/proc/meminfo");
        let memory_bytes = memory_field(&meminfo, "MemTotal").unwrap_or(0);
        let disk_bytes = rustix::fs::statvfs(root).map_or(0, |fs| fs.f_blocks * fs.f_frsize);
        let resources = |memory: u64, disk: u64| {
            let quantity = |text: String| Quantity(text);
            Resources::from([
                ("cpu".to_owned(), quantity(cpus.to_string())),
                ("memory".to_owned(), quantity(format!("{}Ki", memory >> 10))),
                ("ephemeral-storage".to_owned(), quantity(format!("{}Ki", disk >> 10))),
                ("pods".to_owned(), quantity(pods_max.to_string())),
            ])
        };
        let free_memory = memory_bytes.saturating_sub(RESERVED_MEMORY_BYTES);
        Self {
            capacity: resources(memory_bytes, disk_bytes),
            allocatable: resources(free_memory, disk_bytes / 10 * 9),
            memory_bytes,
            info: system_info(runtime),
        }
    }
}

fn system_info(runtime: &v1::VersionResponse) -> NodeSystemInfo {
    let uname = rustix::system::uname();
    NodeSystemInfo {
        architecture: architecture().into(),
        boot_id: text("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: format!(
            "{}://{}",
            runtime.runtime_name, runtime.runtime_version
        ),
        kernel_version: uname.release().to_string_lossy().into_owned(),
        kube_proxy_version: String::new(),
        kubelet_version: "v1.36.0".into(),
        machine_id: text("/etc/machine-id"),
        operating_system: "linux".into(),
        os_image: pretty_name(&text("/etc/os-release")),
        system_uuid: text("/sys/class/dmi/id/product_uuid"),
        swap: None,
    }
}

/// The architecture as Kubernetes and images name it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A small file's text; empty if it cannot be read.
fn text(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// A field of `/proc/meminfo` in bytes.
pub(crate) fn memory_field(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.split(':').next() == Some(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

fn pretty_name(os_release: &str) -> String {
    let line = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.unwrap_or("Linux").trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_files() {
        let meminfo = "MemTotal:        2033456 kB\nMemFree:  10 kB\nMemAvailable:    1500000 kB\n";
        assert_eq!(memory_field(meminfo, "MemAvailable"), Some(1_536_000_000));
        assert_eq!(memory_field(meminfo, "SwapTotal"), None);
        assert_eq!(pretty_name("ID=debian\nPRETTY_NAME=\"Debian 13\"\n"), "Debian 13");
    }
}
