//! Claims: those bound to a folder of this node can be used, others need drivers that are not
//! there yet.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{Api, Client};

use super::{VolumeError, host_path};
use crate::object;

/// The folder behind a claim and whether it may only be read.
pub(crate) async fn locate(
    client: &Client,
    pod: &Pod,
    claim: &str,
) -> Result<std::path::PathBuf, VolumeError> {
    let failed = |message: String| VolumeError::Claim { claim: claim.to_owned(), message };
    let claims: Api<PersistentVolumeClaim> =
        Api::namespaced(client.clone(), object::namespace(pod));
    let found = claims.get_opt(claim).await.map_err(|error| failed(error.to_string()))?;
    let Some(found) = found else {
        return Err(failed("not found".into()));
    };
    let name = found.spec.and_then(|spec| spec.volume_name).unwrap_or_default();
    if name.is_empty() {
        return Err(failed("not bound to a volume yet".into()));
    }
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let volume = volumes.get(&name).await.map_err(|error| failed(error.to_string()))?;
    let spec = volume.spec.unwrap_or_default();
    if let Some(source) = spec.host_path {
        let kind = source.type_.unwrap_or_default();
        let kind = if kind.is_empty() { "DirectoryOrCreate".to_owned() } else { kind };
        return host_path::prepare(&source.path, &kind);
    }
    if let Some(source) = spec.local {
        return host_path::prepare(&source.path, "Directory");
    }
    Err(failed(format!("volume {name} is not supported yet: only hostPath and local volumes are")))
}
