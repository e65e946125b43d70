//! The verbs on a scripted host: what they run, write and remove, from scratch and after a crash.

use expect_test::{Expect, expect};
use minik_driver::{ScriptedHost, bridge_name, tap_name};

use super::*;
use crate::command_line::tests::sample;

const STAT: &str = "77 (qemu) S 1 77 77 0 -1 1 2 3 4 5 6 7 8 9 20 0 4 0 4242 100";

/// A host with QEMU 10 and no KVM, whose QEMU becomes process 77.
fn host() -> ScriptedHost {
    let host = ScriptedHost::new();
    for file in ["vmlinux", "initrd", "root.erofs", "docker.erofs"] {
        host.file(format!("/image/{file}"), "x");
    }
    host.file("/data/dev/seed,1.img", "x").file("/proc/sys/kernel/random/boot_id", "boot\n");
    host.file("/bin/qemu-system-x86_64", "x").file("/bin/qemu-img", "x");
    host.answer("qemu-system-x86_64 --version", "QEMU emulator version 10.0.2\n");
    host.answer_with("qemu-system-x86_64 -machine", 0x21, "", "");
    host.answer("qemu-system-x86_64 -name", "");
    host.makes("qemu-system-x86_64 -name", "/run/dev/qemu.pid", "77\n");
    host.makes("qemu-system-x86_64 -name", "/proc/77/stat", STAT);
    host.makes("qemu-system-x86_64 -name", "/proc/77/cmdline", "qemu\0/run/dev/qemu.pid\0");
    host.answer("qemu-img", "").makes("qemu-img create", "/data/dev/data.qcow2.new", "disk");
    host.answer("ip ", "").answer("ip -4 -j", "[]").answer("ip -j link show", "[]");
    host
}

fn driver(host: &ScriptedHost) -> QemuDriver<ScriptedHost> {
    QemuDriver::new(
        host.clone(),
        QemuConfig { cache_dir: "/cache".into(), ..QemuConfig::default() },
    )
}

/// What happens on a host from one check to the next.
struct Watched {
    host: ScriptedHost,
    seen: usize,
}

impl Watched {
    fn new(host: &ScriptedHost) -> Self {
        Self { host: host.clone(), seen: host.calls().len() }
    }

    /// Compares what was run, written and removed, without questions and with QEMU's arguments cut
    /// short, and what came of it.
    fn check(&mut self, result: &dyn std::fmt::Debug, expected: Expect) {
        let calls = self.host.calls();
        let told = |call: &&String| !call.starts_with("ip -") && !call.contains("/cache/trial-");
        let mut lines: Vec<String> = calls[self.seen..].iter().filter(told).cloned().collect();
        lines.iter_mut().for_each(|line| *line = line.chars().take(72).collect());
        self.seen = calls.len();
        lines.push(format!("=> {result:?}"));
        expected.assert_eq(&lines.join("\n"));
    }
}

fn plugged_in(host: &ScriptedHost) {
    let links = serde_json::json!([
        {"ifname": bridge_name("dev")},
        {"ifname": tap_name("dev", "dev")},
    ]);
    host.forget("ip -j link show").answer("ip -j link show", &links.to_string());
    host.answer("ip -j link show master", "[{}]");
}

#[test]
fn from_nothing_to_a_running_machine_and_back() {
    let host = host();
    let spec = sample(NetworkMode::Tap);
    assert_eq!(driver(&host).state(&spec).ok(), Some(MachineState::Nonexistent));
    let mut watched = Watched::new(&host);
    watched.check(&driver(&host).start(&spec), expect![[r#"
        qemu-system-x86_64 --version
        write /cache/accelerator.json
        remove /data/dev/data.qcow2.new
        qemu-img create -q -f qcow2 /data/dev/data.qcow2.new 20000M
        write /data/dev/machine.json
        ip link add name mk3a91cfb709 address 52:c2:37:32:db:5a type bridge
        ip link set dev mk3a91cfb709 addrgenmode none
        ip addr replace 192.168.60.1/24 dev mk3a91cfb709
        ip link set dev mk3a91cfb709 up
        ip tuntap add dev mt3169f19954 mode tap
        ip link set dev mt3169f19954 addrgenmode none
        ip link set dev mt3169f19954 master mk3a91cfb709 up
        remove /run/dev/qmp.sock
        remove /run/dev/agent.sock
        remove /run/dev/qemu.pid
        write /data/dev/command
        qemu-system-x86_64 -name guest=dev/dev,process=minik-dev -no-user-config
        write /data/dev/machine.json
        => Ok(Started { accelerator: Emulation, already_running: false, recovered: None, warnings: [] })"#]]);
    assert_eq!(driver(&host).state(&spec).ok(), Some(MachineState::Running));
    assert_eq!(driver(&host).endpoint(&spec, 22).ok(), "192.168.60.2:22".parse().ok());
    plugged_in(&host);
    let mut watched = Watched::new(&host);
    watched.check(
        &driver(&host).kill(&spec),
        expect![[r#"
        end 77 Force
        remove /run/dev/qmp.sock
        remove /run/dev/agent.sock
        remove /run/dev/qemu.pid
        ip link del dev mt3169f19954
        ip link del dev mk3a91cfb709
        write /data/dev/machine.json
        => Ok(Killed)"#]],
    );
    assert_eq!(driver(&host).state(&spec).ok(), Some(MachineState::Stopped));
    host.forget("ip -j link show").answer("ip -j link show", "[]");
    watched.check(
        &driver(&host).stop(&spec, QUIT),
        expect![[r#"
        remove /run/dev/qmp.sock
        remove /run/dev/agent.sock
        remove /run/dev/qemu.pid
        => Ok(Already)"#]],
    );
    watched.check(
        &driver(&host).delete(&spec),
        expect![[r#"
        remove /run/dev/qmp.sock
        remove /run/dev/agent.sock
        remove /run/dev/qemu.pid
        remove /run/dev
        remove /data/dev
        => Ok(())"#]],
    );
    assert!(driver(&host).delete(&spec).is_ok(), "nothing there is fine");
    assert_eq!(driver(&host).state(&spec).ok(), Some(MachineState::Nonexistent));
}

#[test]
fn a_machine_whose_record_was_never_written_is_deleted_with_its_process() {
    let host = host();
    let spec = sample(NetworkMode::Tap);
    driver(&host).start(&spec).expect("the script lets it");
    host.file("/data/dev/machine.json", "{\"version\":1,\"diskM");
    plugged_in(&host);
    let refused = driver(&host).start(&spec).expect_err("the record is damaged");
    assert!(matches!(refused, DriverError::StateDamaged { .. }), "{refused}");
    let mut watched = Watched::new(&host);
    watched.check(
        &driver(&host).delete(&spec),
        expect![[r#"
            end 77 Force
            remove /run/dev/qmp.sock
            remove /run/dev/agent.sock
            remove /run/dev/qemu.pid
            ip link del dev mt3169f19954
            ip link del dev mk3a91cfb709
            ip link del dev mt3169f19954
            ip link del dev mk3a91cfb709
            remove /run/dev
            remove /data/dev
            => Ok(())"#]],
    );
    assert!(!host.files().iter().any(|file| file.contains("/dev/")), "{:?}", host.files());
}

#[test]
fn after_a_crash_of_the_host_start_says_what_it_found() {
    let host = host();
    let spec = sample(NetworkMode::Tap);
    driver(&host).start(&spec).expect("the script lets it");
    host.file("/proc/sys/kernel/random/boot_id", "another boot\n");
    host.remove("/run/dev".as_ref()).expect("a script has no troubles");
    assert_eq!(driver(&host).state(&spec).ok(), Some(MachineState::Stopped));
    let started = driver(&host).start(&spec).expect("the script lets it");
    assert_eq!(started.recovered.as_deref(), Some("process 77 had ended without `minik stop`"));
}

#[test]
fn an_unsound_emulator_is_refused_before_anything_is_made() {
    let host = ScriptedHost::new();
    host.file("/bin/qemu-system-x86_64", "x").file("/bin/qemu-img", "x");
    host.file("/proc/sys/kernel/random/boot_id", "boot\n");
    host.answer("qemu-system-x86_64 --version", "QEMU emulator version 7.2.22\n");
    host.answer_with("qemu-system-x86_64 -machine", 0x21, "", "");
    let mut spec = sample(NetworkMode::User);
    let refused = driver(&host).start(&spec).expect_err("two CPUs");
    assert_eq!(
        refused.to_string(),
        "the emulation of QEMU 7.2.22 crashes the guest with 2 CPUs; with several CPUs it takes QEMU 8.0.0 or later"
    );
    assert!(!host.exists(&spec.dir));
    spec.cpus = 1;
    let next = driver(&host).start(&spec).expect_err("the script has no qemu-img");
    assert!(matches!(next, DriverError::ToolMissing { .. }), "{next}");
}

#[test]
fn a_disk_grows_and_never_shrinks() {
    let host = host();
    let mut spec = sample(NetworkMode::Tap);
    driver(&host).create(&spec).expect("the script lets it");
    spec.disk_mib = 30_000;
    let mut watched = Watched::new(&host);
    watched.check(
        &driver(&host).create(&spec),
        expect![[r#"
        qemu-system-x86_64 --version
        qemu-img resize -q -f qcow2 /data/dev/data.qcow2 30000M
        write /data/dev/machine.json
        => Ok(AlreadyThere)"#]],
    );
    watched.check(
        &driver(&host).create(&spec),
        expect![[r#"
        qemu-system-x86_64 --version
        => Ok(AlreadyThere)"#]],
    );
    spec.disk_mib = 10_000;
    let refused = driver(&host).create(&spec).expect_err("it would lose data");
    assert_eq!(
        refused.to_string(),
        "machine `dev` was made with a disk of 30000 MiB, not 10000 MiB: delete and start it again"
    );
}
