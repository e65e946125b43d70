//! `minik profile`: which clusters there are and which one commands mean.

use serde_json::{Value, json};

use crate::cluster::{Cluster, Overview};
use crate::config::Config;
use crate::context::{Context, DEFAULT_PROFILE};
use crate::exit::Exit;
use crate::out::table;
use crate::report::Report;

/// Print or choose the current cluster, or list all
#[derive(clap::Args, Debug)]
pub(crate) struct ProfileArgs {
    /// The cluster that later commands mean, or `list`
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// How `list` prints
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,

    /// Do not ask the machines
    #[arg(short, long)]
    light: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Json,
}

pub(crate) fn run(ctx: &Context, args: &ProfileArgs) -> Result<(), Report> {
    match args.name.as_deref() {
        None => ctx.out.data(ctx.profile()?),
        Some("list") => return list(ctx, args),
        Some(name) => {
            if name != DEFAULT_PROFILE && !Cluster::names(ctx)?.iter().any(|known| known == name) {
                return Err(Report::new(
                    "MK_PROFILE_NOT_FOUND",
                    Exit::GUEST_NOT_FOUND,
                    format!("there is no cluster named `{name}`"),
                )
                .advise(format!(
                    "make it: `minik start -p {name}`; `minik profile list` shows all"
                )));
            }
            let mut config = Config::load(&ctx.folders.config)?;
            if name == DEFAULT_PROFILE {
                config.unset("profile")?;
            } else {
                config.set("profile", name)?;
            }
            ctx.out.data(format!("minik profile was successfully set to {name}"));
        }
    }
    Ok(())
}

fn list(ctx: &Context, args: &ProfileArgs) -> Result<(), Report> {
    let mut valid = Vec::new();
    let mut invalid = Vec::new();
    for name in Cluster::names(ctx)? {
        match Cluster::open_named(ctx, &name).and_then(|cluster| cluster.overview(args.light)) {
            Ok(overview) => valid.push(overview),
            Err(report) => invalid.push((name, report.message)),
        }
    }
    if valid.is_empty() && invalid.is_empty() && args.output == Output::Table {
        return Err(Report::new("MK_USAGE_NO_PROFILE", Exit::USAGE, "no minik profile was found")
            .advise("you can create one using `minik start`"));
    }
    let active = ctx.profile()?;
    match args.output {
        Output::Json => ctx.out.data(document(&valid, &invalid, &active).to_string()),
        Output::Table => {
            let head =
                ["PROFILE", "DRIVER", "RUNTIME", "IP", "VERSION", "STATUS", "NODES", "ACTIVE"];
            let mut rows: Vec<Vec<String>> = valid.iter().map(|o| row(o, &active)).collect();
            rows.extend(invalid.iter().map(|(name, _)| {
                let mut row = vec![name.clone()];
                row.resize(head.len(), String::new());
                row[5] = "Invalid".to_owned();
                row
            }));
            ctx.out.data(table(&head, &rows));
            for (name, reason) in &invalid {
                ctx.out.warning(&format!("profile {name}: {reason}"));
            }
        }
    }
    Ok(())
}

fn row(overview: &Overview, active: &str) -> Vec<String> {
    vec![
        overview.name.clone(),
        overview.driver.clone(),
        overview.runtime.clone(),
        overview.address.clone(),
        overview.version.clone(),
        overview.status.to_owned(),
        overview.nodes.to_string(),
        if overview.name == active { "*".to_owned() } else { String::new() },
    ]
}

fn document(valid: &[Overview], invalid: &[(String, String)], active: &str) -> Value {
    let valid: Vec<Value> = valid
        .iter()
        .map(|o| {
            json!({
                "Name": o.name,
                "Status": o.status,
                "Config": {
                    "Name": o.name,
                    "Driver": o.driver,
                    "KubernetesConfig": {
                        "KubernetesVersion": o.version,
                        "ContainerRuntime": o.runtime,
                    },
                },
                "Active": o.name == active,
                "ActiveKubeContext": o.context_active,
            })
        })
        .collect();
    let invalid: Vec<Value> = invalid
        .iter()
        .map(|(name, reason)| json!({ "Name": name, "Status": "Invalid", "Reason": reason }))
        .collect();
    json!({ "invalid": invalid, "valid": valid })
}
