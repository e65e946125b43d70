//! Packs the descriptions of all types and fields, for OpenAPI and `kubectl explain`.
//!
//! Facts come from the committed table; prose comes from `k8s-openapi` and lands, compressed, in
//! the build folder. One line per type (`= name<TAB>text`) and per field (`name<TAB>text`).

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use k8s_openapi::schemars::{SchemaGenerator, generate::SchemaSettings};

macro_rules! roots {
    ($generator:ident: $($module:path => [$($kind:ident)*],)*) => {
        $({
            use $module as module;
            $($generator.subschema_for::<module::$kind>();)*
        })*
    };
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let text = lines(&definitions());
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all(text.as_bytes()).expect("writing to memory");
    let packed = packed.finish().expect("writing to memory");
    std::fs::write(Path::new(&out).join("descriptions.z"), packed).expect("OUT_DIR is writable");
}

/// The schema of every kind of the table and all it refers to, by definition name.
fn definitions() -> serde_json::Map<String, serde_json::Value> {
    let mut generator: SchemaGenerator = SchemaSettings::draft07().into_generator();
    roots!(generator:
        k8s_openapi::api::core::v1 => [Binding ComponentStatus ConfigMap Endpoints Event LimitRange
            Namespace Node PersistentVolume PersistentVolumeClaim Pod PodTemplate
            ReplicationController ResourceQuota Secret Service ServiceAccount],
        k8s_openapi::api::apps::v1 => [ControllerRevision DaemonSet Deployment ReplicaSet
            StatefulSet],
        k8s_openapi::api::batch::v1 => [CronJob Job],
        k8s_openapi::api::events::v1 => [Event],
        k8s_openapi::api::authentication::v1 => [SelfSubjectReview TokenRequest TokenReview],
        k8s_openapi::api::authorization::v1 => [LocalSubjectAccessReview SelfSubjectAccessReview
            SelfSubjectRulesReview SubjectAccessReview],
        k8s_openapi::api::autoscaling::v1 => [HorizontalPodAutoscaler Scale],
        k8s_openapi::api::autoscaling::v2 => [HorizontalPodAutoscaler],
        k8s_openapi::api::certificates::v1 => [CertificateSigningRequest],
        k8s_openapi::api::networking::v1 => [IPAddress Ingress IngressClass NetworkPolicy
            ServiceCIDR],
        k8s_openapi::api::policy::v1 => [Eviction PodDisruptionBudget],
        k8s_openapi::api::rbac::v1 => [ClusterRole ClusterRoleBinding Role RoleBinding],
        k8s_openapi::api::storage::v1 => [CSIDriver CSINode CSIStorageCapacity StorageClass
            VolumeAttachment VolumeAttributesClass],
        k8s_openapi::api::admissionregistration::v1 => [MutatingAdmissionPolicy
            MutatingAdmissionPolicyBinding MutatingWebhookConfiguration ValidatingAdmissionPolicy
            ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration],
        k8s_openapi::api::scheduling::v1 => [PriorityClass],
        k8s_openapi::api::coordination::v1 => [Lease],
        k8s_openapi::api::node::v1 => [RuntimeClass],
        k8s_openapi::api::discovery::v1 => [EndpointSlice],
        k8s_openapi::api::resource::v1 => [DeviceClass ResourceClaim ResourceClaimTemplate
            ResourceSlice],
        k8s_openapi::api::flowcontrol::v1 => [FlowSchema PriorityLevelConfiguration],
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 => [
            CustomResourceDefinition],
        k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 => [APIService],
        k8s_openapi::apimachinery::pkg::apis::meta::v1 => [APIGroup APIGroupList APIResourceList
            APIVersions DeleteOptions Status ListMeta],
    );
    generator.take_definitions(false)
}

fn lines(definitions: &serde_json::Map<String, serde_json::Value>) -> String {
    let mut text = String::new();
    for (name, schema) in definitions {
        line(&mut text, &format!("= {name}"), schema);
        let properties = schema.get("properties").and_then(|one| one.as_object());
        for (field, schema) in properties.into_iter().flatten() {
            line(&mut text, field, schema);
        }
    }
    text
}

fn line(text: &mut String, name: &str, schema: &serde_json::Value) {
    let description = schema.get("description").and_then(|one| one.as_str()).unwrap_or_default();
    let escaped = description.replace('\\', "\\\\").replace('\n', "\\n");
    writeln!(text, "{name}\t{escaped}").expect("writing to memory");
}
