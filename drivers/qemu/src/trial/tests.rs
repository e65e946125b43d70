//! What trials conclude, from scripted QEMUs and, at the end, from the real one under emulation.

use minik_driver::{RealHost, ScriptedHost};
use test_case::test_case;

use super::*;
use crate::version::QemuVersion;

fn tools() -> Binaries {
    Binaries {
        system: "/usr/bin/qemu-system-x86_64".into(),
        img: "/usr/bin/qemu-img".into(),
        version: QemuVersion { major: 10, minor: 0, micro: 2 },
        said: "QEMU emulator version 10.0.2".to_owned(),
    }
}

fn ended(exit: i32, stderr: &str) -> Result<ToolOutput> {
    Ok(ToolOutput { exit: Some(exit), stdout: Vec::new(), stderr: stderr.into() })
}

fn stopped(output: &str) -> Result<ToolOutput> {
    let output = output.to_owned();
    Err(DriverError::ToolTimedOut { command: "qemu".to_owned(), waited: DEADLINE, output })
}

#[test_case(&ended(0x21, ""), "pcly23bta.", "passed"; "all steps")]
#[test_case(&ended(134, "qemu-system-x86_64: error: failed to set MSR 0x10a to 0xc000069\n"), "",
    "the trial guest failed before its first instruction (error: failed to set MSR 0x10a to 0xc000069)"; "qemu gives up")]
#[test_case(&stopped("qemu: warning: no pni\nKVM internal error. Suberror: 1\n"), "pcly2",
    "the trial guest stopped at an SSE2 instruction (KVM internal error. Suberror: 1)"; "kvm gives up")]
#[test_case(&stopped(""), "pcly23b", "the trial guest stopped at a BMI2 instruction"; "silence")]
#[test_case(&ended(0x41, ""), "pc", "the guest sees no complete 64-bit processor"; "old model")]
#[test_case(&ended(0, ""), "pcl", "the trial guest failed at the switch to 64 bits"; "reset by a fault")]
fn judged(result: &Result<ToolOutput>, trace: &str, expected: &str) {
    let answer = judge(result, trace).err().unwrap_or("passed".to_owned());
    assert_eq!(answer, expected);
}

fn host(size: &str) -> ScriptedHost {
    let host = ScriptedHost::new();
    host.file("/usr/bin/qemu-system-x86_64", size).file(BOOT_ID, "boot-1\n");
    host
}

fn runs(host: &ScriptedHost) -> usize {
    host.calls().iter().filter(|call| call.starts_with("qemu-system-x86_64")).count()
}

#[test]
fn a_trial_is_made_once_per_qemu_and_boot() {
    let host = host("1");
    host.answer_with("qemu-system-x86_64", PASSED, "", "");
    let first = find(&host, &tools(), Path::new("/cache"), true).expect("it runs");
    assert_eq!((first.kvm_cpu.as_deref(), first.sandbox), (Some("host"), true));
    assert_eq!(runs(&host), 2, "the sandbox, then KVM");

    let again = find(&host, &tools(), Path::new("/cache"), true).expect("it is remembered");
    assert_eq!((again, runs(&host)), (first, 2));

    host.file(BOOT_ID, "boot-2\n");
    find(&host, &tools(), Path::new("/cache"), true).expect("it runs");
    assert_eq!(runs(&host), 4, "another boot may have another kernel");
    host.file("/usr/bin/qemu-system-x86_64", "22");
    find(&host, &tools(), Path::new("/cache"), true).expect("it runs");
    assert_eq!(runs(&host), 6, "QEMU was replaced");
}

#[test]
fn without_kvm_only_the_sandbox_is_tried() {
    let host = host("1");
    host.answer_with("qemu-system-x86_64", 1, "", "-sandbox support is not enabled\n");
    let found = find(&host, &tools(), Path::new("/cache"), false).expect("trials never fail");
    assert_eq!((found.kvm_cpu, found.sandbox, runs(&host)), (None, false, 1));
    find(&host, &tools(), Path::new("/cache"), true).expect("trials never fail");
    assert_eq!(runs(&host), 4, "the device came: sandbox and two CPU models");
}

#[test]
fn the_second_cpu_model_is_tried_and_both_failures_are_told() {
    let host = host("1");
    for (exit, stderr) in [(PASSED, ""), (134, "qemu: no MSR\n"), (1, "")] {
        host.answer_with("qemu-system-x86_64", exit, "", stderr);
    }
    let found = find(&host, &tools(), Path::new("/cache"), true).expect("trials never fail");
    assert_eq!(found.kvm_cpu, None);
    assert_eq!(
        found.reason,
        "/dev/kvm opens, but with the CPU model `host` the trial guest failed before its first \
         instruction (no MSR); with the CPU model `host,-arch-capabilities` the trial guest failed \
         before its first instruction"
    );
}

#[test]
fn the_guest_passes_under_emulation() {
    let tools = crate::binary::find(&RealHost, None, &[]).expect("these tests need QEMU");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (guest, trace) = (folder.path().join("guest"), folder.path().join("trace"));
    std::fs::write(&guest, GUEST).expect("there is room");
    for (cpu, steps) in [("max", "pcly23bta."), ("qemu64", "pcly23.")] {
        let tool = tool(&tools.system, &guest, &trace, "tcg", cpu, false);
        let result = RealHost.run_any(&tool.deadline(Duration::from_secs(60)));
        let said = std::fs::read_to_string(&trace).unwrap_or_default();
        assert_eq!((judge(&result, &said), said.as_str()), (Ok(()), steps), "{cpu}");
    }
}
