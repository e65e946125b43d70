//! Chooses what runs the guest's instructions: KVM when a trial guest ran with it, else emulation,
//! and says why.

use std::io;
use std::path::Path;

use minik_driver::{Accelerator, DriverError, Host, Result, Tool};

use crate::binary::Binaries;
use crate::command_line::Engine;
use crate::trial;
use crate::version::SOUND_EMULATION;

const KVM: &str = "/dev/kvm";

/// What will run machines, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) engine: Engine,
    pub(crate) sandbox: bool,
    pub(crate) reason: String,
    pub(crate) warnings: Vec<String>,
}

impl Chosen {
    pub(crate) fn accelerator(&self) -> Accelerator {
        match self.engine {
            Engine::Kvm { .. } => Accelerator::Kvm,
            Engine::Emulation => Accelerator::Emulation,
        }
    }
}

/// Chooses. `wanted` is the user's, if any.
pub(crate) fn choose(
    host: &dyn Host,
    tools: &Binaries,
    cache: &Path,
    wanted: Option<Accelerator>,
) -> Result<Chosen> {
    let opens = match wanted {
        Some(Accelerator::Emulation) => Err(None),
        Some(Accelerator::Kvm | Accelerator::Native) | None => kvm_opens(host).map_err(Some),
    };
    let found = trial::find(host, tools, cache, opens.is_ok())?;
    let sandbox = found.sandbox;
    let why = match opens {
        Ok(()) => match found.kvm_cpu {
            Some(cpu) => {
                let (engine, reason) = (Engine::Kvm { cpu }, found.reason);
                return Ok(Chosen { engine, sandbox, reason, warnings: Vec::new() });
            }
            None => Why {
                reason: found.reason,
                short: "/dev/kvm is there, but runs no guest".to_owned(),
                closed: None,
            },
        },
        Err(Some(why)) => why,
        Err(None) => {
            return Ok(emulation(tools, sandbox, "emulation was asked for".to_owned(), None));
        }
    };
    match (wanted, why.closed) {
        (None, _) => Ok(emulation(tools, sandbox, why.reason, Some(&why.short))),
        (Some(wanted), None) => Err(DriverError::AcceleratorRefused { wanted, reason: why.reason }),
        (Some(_), Some(source)) => {
            let (device, group) = (KVM.into(), group(host));
            Err(DriverError::DeviceForbidden { device, group, source })
        }
    }
}

/// Emulation; `instead` is why not KVM when the user would have liked it.
fn emulation(tools: &Binaries, sandbox: bool, reason: String, instead: Option<&str>) -> Chosen {
    let mut warnings = Vec::new();
    if let Some(why) = instead {
        warnings.push(format!("machines are emulated, which is 10 times slower or more: {why}"));
    }
    if tools.version < SOUND_EMULATION {
        let version = tools.version;
        warnings.push(format!(
            "the emulation of QEMU {version} runs the guest on one CPU only, {SOUND_EMULATION} or later on all"
        ));
    }
    Chosen { engine: Engine::Emulation, sandbox, reason, warnings }
}

/// Why it is not KVM.
struct Why {
    /// All that is known.
    reason: String,
    /// The same for a warning of one line.
    short: String,
    /// The system's answer when the device is there but closed to this user.
    closed: Option<io::Error>,
}

fn kvm_opens(host: &dyn Host) -> std::result::Result<(), Why> {
    let because = |reason: String| Why { short: reason.clone(), reason, closed: None };
    if std::env::consts::ARCH != "x86_64" {
        let arch = std::env::consts::ARCH;
        return Err(because(format!("the guest is for x86_64 and this processor is {arch}")));
    }
    let Err(error) = host.try_open(Path::new(KVM)) else { return Ok(()) };
    match error.kind() {
        io::ErrorKind::NotFound => Err(because(why_no_device(host))),
        io::ErrorKind::PermissionDenied => {
            let reason = format!("{KVM} cannot be opened by this user");
            let short = match group(host) {
                Some(group) => format!("{reason}, only by the group {group}"),
                None => reason.clone(),
            };
            Err(Why { reason, short, closed: Some(error) })
        }
        _ => Err(because(format!("{KVM} cannot be opened: {error}"))),
    }
}

/// Says what is missing, without pointing at the firmware of a computer that has none.
fn why_no_device(host: &dyn Host) -> String {
    let cpuinfo = host.read_text(Path::new("/proc/cpuinfo")).unwrap_or_default();
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|known| known == flag);
    if has("vmx") || has("svm") {
        format!(
            "the processor can virtualize, but there is no {KVM}: the kernel's kvm module is not loaded"
        )
    } else if has("hypervisor") {
        "this computer is itself a virtual machine, and its host offers no nested virtualization"
            .to_owned()
    } else {
        "the processor offers no virtualization; it may be switched off in the firmware".to_owned()
    }
}

/// The group that may open the device, unless it is root's.
fn group(host: &dyn Host) -> Option<String> {
    let output = host.run(&Tool::new("stat").args(["-c", "%G", KVM])).ok()?;
    let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!name.is_empty() && name != "root" && name != "UNKNOWN").then_some(name)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use minik_driver::ScriptedHost;

    use super::*;
    use crate::version::QemuVersion;

    fn tools(major: u32) -> Binaries {
        Binaries {
            system: "/usr/bin/qemu-system-x86_64".into(),
            img: "/usr/bin/qemu-img".into(),
            version: QemuVersion { major, minor: 0, micro: 0 },
            said: String::new(),
        }
    }

    fn host() -> ScriptedHost {
        let host = ScriptedHost::new();
        host.file("/usr/bin/qemu-system-x86_64", "").file("/proc/sys/kernel/random/boot_id", "b");
        host.answer("stat -c %G /dev/kvm", "kvm\n");
        host
    }

    fn check(host: &ScriptedHost, major: u32, wanted: Option<Accelerator>, expected: Expect) {
        let text = match choose(host, &tools(major), Path::new("/cache"), wanted) {
            Ok(chosen) => {
                let warnings: String =
                    chosen.warnings.iter().map(|warning| format!("\n! {warning}")).collect();
                format!("{:?}: {}{warnings}", chosen.engine, chosen.reason)
            }
            Err(error) => format!("error: {error}"),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn kvm_that_works() {
        let host = host();
        host.file(KVM, "").answer_with("qemu-system-x86_64", 0x21, "", "");
        check(
            &host,
            7,
            None,
            expect![[r#"Kvm { cpu: "host" }: KVM ran the trial guest with the CPU model `host`"#]],
        );
    }

    #[test]
    fn kvm_that_only_opens() {
        let host = host();
        host.file(KVM, "").answer_with("qemu-system-x86_64", 1, "", "qemu: no\n");
        check(
            &host,
            10,
            None,
            expect![[r#"
            Emulation: /dev/kvm opens, but with the CPU model `host` the trial guest failed before its first instruction (no); with the CPU model `host,-arch-capabilities` the trial guest failed before its first instruction (no)
            ! machines are emulated, which is 10 times slower or more: /dev/kvm is there, but runs no guest"#]],
        );
        check(
            &host,
            10,
            Some(Accelerator::Kvm),
            expect![
                "error: kvm cannot be used: /dev/kvm opens, but with the CPU model `host` the trial guest failed before its first instruction (no); with the CPU model `host,-arch-capabilities` the trial guest failed before its first instruction (no)"
            ],
        );
    }

    #[test]
    fn kvm_that_is_closed() {
        let host = host();
        host.closed_device(KVM);
        check(
            &host,
            7,
            None,
            expect![[r#"
                Emulation: /dev/kvm cannot be opened by this user
                ! machines are emulated, which is 10 times slower or more: /dev/kvm cannot be opened by this user, only by the group kvm
                ! the emulation of QEMU 7.0.0 runs the guest on one CPU only, 8.0.0 or later on all"#]],
        );
        check(
            &host,
            7,
            Some(Accelerator::Kvm),
            expect!["error: /dev/kvm cannot be opened by this user"],
        );
    }

    #[test]
    fn no_kvm_names_what_is_missing() {
        let host = host();
        host.file("/proc/cpuinfo", "flags\t\t: fpu hypervisor\n");
        check(
            &host,
            10,
            None,
            expect![[r#"
            Emulation: this computer is itself a virtual machine, and its host offers no nested virtualization
            ! machines are emulated, which is 10 times slower or more: this computer is itself a virtual machine, and its host offers no nested virtualization"#]],
        );
        host.file("/proc/cpuinfo", "flags\t\t: fpu svm hypervisor\n");
        check(
            &host,
            10,
            None,
            expect![[r#"
            Emulation: the processor can virtualize, but there is no /dev/kvm: the kernel's kvm module is not loaded
            ! machines are emulated, which is 10 times slower or more: the processor can virtualize, but there is no /dev/kvm: the kernel's kvm module is not loaded"#]],
        );
        host.file("/proc/cpuinfo", "flags\t\t: fpu\n");
        check(
            &host,
            10,
            Some(Accelerator::Kvm),
            expect![
                "error: kvm cannot be used: the processor offers no virtualization; it may be switched off in the firmware"
            ],
        );
    }

    #[test]
    fn emulation_on_request_is_not_warned_away() {
        check(
            &host(),
            10,
            Some(Accelerator::Emulation),
            expect!["Emulation: emulation was asked for"],
        );
    }
}
