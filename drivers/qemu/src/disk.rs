//! The machine's one writable disk.

use minik_driver::{Created, DriverError, Host, MachineSpec, Result, Tool};

use crate::binary::Binaries;
use crate::files::Files;
use crate::record::MachineRecord;

/// Makes folders, disk and record. What is there stays; what an earlier call left half made is made
/// again: the disk gets its name only when it is complete, the record comes last.
pub(crate) fn create(host: &dyn Host, tools: &Binaries, spec: &MachineSpec) -> Result<Created> {
    Files(spec).check_socket_paths()?;
    host.make_dir(&spec.dir, 0o700)?;
    host.make_dir(&spec.run_dir, 0o700)?;
    let disk = Files(spec).data_disk();
    match MachineRecord::load(host, spec)? {
        Some(record) if host.exists(&disk) => {
            grow(host, tools, spec, record)?;
            return Ok(Created::AlreadyThere);
        }
        Some(_) | None => {}
    }
    if !host.exists(&disk) {
        let new = disk.with_extension("qcow2.new");
        host.remove(&new)?;
        let (path, size) = (new.display().to_string(), format!("{}M", spec.disk_mib));
        let tool = Tool::new(&tools.img).args(["create", "-q", "-f", "qcow2", &path, &size]);
        host.run(&tool).map_err(|e| full(e, &disk))?;
        host.rename(&new, &disk)?;
    }
    MachineRecord::new(spec.disk_mib).save(host, spec)?;
    Ok(Created::New)
}

/// A disk can only grow, and only while nothing uses it; the guest enlarges its file system when it
/// boots.
fn grow(
    host: &dyn Host,
    tools: &Binaries,
    spec: &MachineSpec,
    mut record: MachineRecord,
) -> Result<()> {
    if spec.disk_mib == record.disk_mib {
        return Ok(());
    }
    let running = record.process.as_ref().is_some_and(|process| process.is_alive(host));
    if spec.disk_mib < record.disk_mib || running {
        return Err(DriverError::Changed {
            machine: spec.name.clone(),
            what: "a disk of",
            have: format!("{} MiB", record.disk_mib),
            want: format!("{} MiB", spec.disk_mib),
        });
    }
    let (disk, size) = (Files(spec).data_disk(), format!("{}M", spec.disk_mib));
    let path = disk.display().to_string();
    let tool = Tool::new(&tools.img).args(["resize", "-q", "-f", "qcow2", &path, &size]);
    host.run(&tool).map_err(|e| full(e, &disk))?;
    record.disk_mib = spec.disk_mib;
    record.save(host, spec)
}

fn full(error: DriverError, disk: &std::path::Path) -> DriverError {
    match error {
        DriverError::ToolFailed { output, .. } if output.contains("No space left") => {
            DriverError::DiskFull { path: disk.to_owned() }
        }
        other => other,
    }
}
