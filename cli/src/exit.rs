//! Exit codes, as minikube's users have them in their scripts.
//!
//! Source of the classes: minikube's documentation of error codes. Tens name where the cause lies:
//! 1x the program, 2x the host's resources, 3x the host, 4x the internet, 5x the driver, 6x the
//! hypervisor, 7x the local network, 8x the guest, 9x the runtime, 10x the control plane, 11x services.

/// The code a command ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    pub(crate) const FAILURE: Exit = Exit(1);
    pub(crate) const INTERRUPTED: Exit = Exit(2);
    pub(crate) const PROGRAM_ERROR: Exit = Exit(10);
    pub(crate) const PROGRAM_CONFLICT: Exit = Exit(11);
    pub(crate) const USAGE: Exit = Exit(14);
    pub(crate) const NOT_FOUND: Exit = Exit(15);
    pub(crate) const UNSUPPORTED: Exit = Exit(16);
    pub(crate) const CONFIG: Exit = Exit(18);
    pub(crate) const MEMORY: Exit = Exit(23);
    pub(crate) const STORAGE: Exit = Exit(26);
    pub(crate) const CORES: Exit = Exit(29);
    pub(crate) const HOST_ERROR: Exit = Exit(30);
    pub(crate) const HOST_CONFLICT: Exit = Exit(31);
    pub(crate) const HOST_PERMISSION: Exit = Exit(37);
    pub(crate) const INTERNET_ERROR: Exit = Exit(40);
    pub(crate) const INTERNET_NOT_FOUND: Exit = Exit(45);
    pub(crate) const INTERNET_UNAVAILABLE: Exit = Exit(49);
    pub(crate) const DRIVER_UNSUPPORTED: Exit = Exit(56);
    pub(crate) const PROVIDER_ERROR: Exit = Exit(60);
    pub(crate) const PROVIDER_NOT_FOUND: Exit = Exit(65);
    pub(crate) const PROVIDER_UNAVAILABLE: Exit = Exit(69);
    pub(crate) const NETWORK_CONFLICT: Exit = Exit(71);
    pub(crate) const NETWORK_CONFIG: Exit = Exit(78);
    pub(crate) const GUEST_ERROR: Exit = Exit(80);
    pub(crate) const GUEST_TIMEOUT: Exit = Exit(82);
    pub(crate) const GUEST_NOT_RUNNING: Exit = Exit(83);
    pub(crate) const GUEST_NOT_FOUND: Exit = Exit(85);
    pub(crate) const GUEST_CERT: Exit = Exit(88);
    pub(crate) const CONTROL_PLANE_ERROR: Exit = Exit(100);
    pub(crate) const CONTROL_PLANE_TIMEOUT: Exit = Exit(102);
    pub(crate) const CONTROL_PLANE_UNAVAILABLE: Exit = Exit(109);
    pub(crate) const SERVICE_NOT_FOUND: Exit = Exit(115);
}
