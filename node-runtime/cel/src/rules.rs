//! `x-kubernetes-validations`: rules in the schemas of custom resources.
