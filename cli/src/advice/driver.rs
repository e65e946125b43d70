//! Advice for what drivers could not do.

use minik_driver::{CidrRefused, DriverError, ResourceRefused};

use crate::exit::Exit;
use crate::report::Report;

/// Id, exit code and advice of a driver's error.
#[expect(clippy::too_many_lines, reason = "one table, one line or two for each fact")]
pub(crate) fn driver(err: &DriverError) -> Report {
    use DriverError as E;
    let report = |id, exit| Report::of(id, exit, err);
    match err {
        E::ToolMissing { tool, .. } => missing(err, tool),
        E::ToolFailed { .. } | E::ToolAnswer { .. } => {
            report("PROVIDER_ERROR", Exit::PROVIDER_ERROR)
                .advise("run the command by hand to see all it says")
        }
        E::ToolTimedOut { .. } => report("PROVIDER_TIMEOUT", Exit::PROVIDER_ERROR)
            .advise("the host may be overloaded; try again when it is quiet"),
        E::DeviceForbidden { group: Some(group), .. } => {
            report("HOST_DEVICE_PERMISSION", Exit::HOST_PERMISSION)
                .advise(format!("run `sudo usermod -aG {group} $USER`, then log in again"))
        }
        E::DeviceForbidden { device, group: None, .. } => {
            report("HOST_DEVICE_PERMISSION", Exit::HOST_PERMISSION)
                .advise(format!("let your user read and write {}", device.display()))
        }
        E::AcceleratorRefused { .. } => report("DRV_ACCELERATOR", Exit::PROVIDER_UNAVAILABLE)
            .advise("leave the choice to minik: emulation works everywhere, only slower"),
        E::EmulatorTooOld { needs, .. } => report("PROVIDER_QEMU_TOO_OLD", Exit::PROVIDER_ERROR)
            .advise(format!("install QEMU {needs} or later, or name it with MINIK_QEMU=PATH")),
        E::EmulatorUnsound { needs, .. } => report(
            "PROVIDER_QEMU_UNSOUND",
            Exit::PROVIDER_UNAVAILABLE,
        )
        .advise("start with `--cpus 1`")
        .advise(format!(
            "or install QEMU {needs} or later (Debian 12 has it in backports) and name it with \
                     MINIK_QEMU=PATH"
        )),
        E::NetworkForbidden { .. } => report("IF_NETWORK_PERMISSION", Exit::HOST_PERMISSION)
            .advise("run as root, or choose `--network user`, which needs no rights"),
        E::Cidr(refused) => cidr(refused),
        E::Resources(refused) => resources(refused),
        E::NotReady { console, .. } => report("GUEST_BOOT_TIMEOUT", Exit::GUEST_TIMEOUT)
            .advise(format!("see how far the guest came: {}", console.display()))
            .advise("run `minik start` again: it goes on where this one ended"),
        E::Died { console, .. } => report("GUEST_DIED", Exit::GUEST_ERROR)
            .advise(format!("see what the guest said last: {}", console.display()))
            .advise("run `minik start` again: it goes on where this one ended"),
        E::NotRunning { .. } => {
            report("GUEST_NOT_RUNNING", Exit::GUEST_NOT_RUNNING).advise("run `minik start`")
        }
        E::WillNotDie { pid, .. } => report("PROVIDER_PROCESS", Exit::PROVIDER_ERROR)
            .advise(format!("look at process {pid}: it may wait for a disk that does not answer")),
        E::Monitor { .. } | E::Agent { .. } => report("PROVIDER_ERROR", Exit::PROVIDER_ERROR)
            .advise("run the command again; `minik stop` and `minik start` if it stays so"),
        E::PortTaken { .. } => report("HOST_PORT_TAKEN", Exit::HOST_CONFLICT)
            .advise("end the program that listens there, then run the command again"),
        E::DiskFull { .. } => report("RSRC_HOST_STORAGE", Exit::STORAGE)
            .advise("make room on that file system, or set MINIK_HOME to another one"),
        E::DiskBusy { .. } => report("HOST_DISK_BUSY", Exit::HOST_CONFLICT)
            .advise("another QEMU uses it: end that one first"),
        E::NoMemory { .. } => report("RSRC_HOST_MEMORY", Exit::MEMORY)
            .advise("close other programs, or ask for less with `--memory`"),
        E::FileMissing { .. } => report("HOST_FILE_MISSING", Exit::HOST_ERROR)
            .advise("run `minik start`: it makes or fetches what is missing"),
        E::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            report("HOST_PERMISSION", Exit::HOST_PERMISSION)
                .advise("the file may belong to another user: look at it with `ls -l`")
        }
        E::Io { .. } => report("HOST_IO", Exit::HOST_ERROR),
        E::StateDamaged { path, .. } => report("HOST_STATE_DAMAGED", Exit::HOST_ERROR)
            .advise(format!("look at {}; `minik delete` removes the machine", path.display())),
        E::SocketPathTooLong { .. } => report("HOST_PATH_TOO_LONG", Exit::HOST_ERROR)
            .advise("set MINIK_HOME or XDG_RUNTIME_DIR to a shorter path"),
        E::Changed { .. } => report("GUEST_CHANGED", Exit::PROGRAM_CONFLICT)
            .advise("run `minik delete`, then `minik start` with the new values"),
        E::NotAvailable { .. } => report("DRV_NOT_AVAILABLE", Exit::DRIVER_UNSUPPORTED)
            .advise("start with `--driver qemu`"),
    }
}

/// Advice for a host-only network that cannot be used.
pub(crate) fn cidr(refused: &CidrRefused) -> Report {
    let (id, exit) = match refused {
        CidrRefused::Overlaps { .. } => ("IF_HOST_CIDR_CONFLICT", Exit::NETWORK_CONFLICT),
        _ => ("IF_HOST_CIDR", Exit::NETWORK_CONFIG),
    };
    Report::of(id, exit, refused)
        .advise("choose another with `--host-only-cidr`, as 192.168.70.1/24, or let minik choose")
}

/// Advice for CPUs, memory or disk that cannot be had.
pub(crate) fn resources(refused: &ResourceRefused) -> Report {
    use ResourceRefused as R;
    let (id, exit, advice) = match refused {
        R::MemoryTooLittle { .. } => {
            ("RSRC_INSUFFICIENT_REQ_MEMORY", Exit::MEMORY, "ask for more with `--memory`")
        }
        R::MemoryTooMuch { .. } => {
            ("RSRC_OVER_ALLOC_MEM", Exit::MEMORY, "ask for less with `--memory`")
        }
        R::CpusTooFew { .. } => {
            ("RSRC_INSUFFICIENT_CORES", Exit::CORES, "ask for more with `--cpus`")
        }
        R::CpusTooMany { .. } => {
            ("RSRC_INSUFFICIENT_CORES", Exit::CORES, "ask for fewer with `--cpus`")
        }
        R::DiskNotFree { .. } => (
            "RSRC_HOST_STORAGE",
            Exit::STORAGE,
            "make room there, ask for less with `--disk-size`, or set MINIK_HOME",
        ),
        R::DiskTooSmall { .. } => {
            ("RSRC_INSUFFICIENT_STORAGE", Exit::STORAGE, "ask for more with `--disk-size`")
        }
    };
    Report::of(id, exit, refused).advise(advice)
}

/// A driver's program that is not there; the id names the hypervisor, as minikube's do.
fn missing(err: &DriverError, tool: &str) -> Report {
    let report = |id| Report::of(id, Exit::PROVIDER_NOT_FOUND, err);
    let here = "or start with `--driver qemu`, the driver that makes machines in this version";
    match tool.to_lowercase() {
        tool if tool.contains("qemu") => report("PROVIDER_QEMU_NOT_FOUND")
            .advise(
                "install QEMU: on Debian and Ubuntu `sudo apt install qemu-system-x86 qemu-utils`",
            )
            .advise("or name the program with `minik config set qemu-binary PATH`"),
        tool if tool.contains("vbox") => report("PROVIDER_VIRTUALBOX_NOT_FOUND").advise(here),
        tool if tool.contains("virsh") || tool.contains("libvirt") => {
            report("PROVIDER_LIBVIRT_NOT_FOUND").advise(here)
        }
        tool if tool.contains("powershell") => report("PROVIDER_HYPERV_NOT_FOUND").advise(here),
        tool => report("HOST_TOOL_NOT_FOUND").advise(format!("install `{tool}`")),
    }
}
