//! `minik image`: container images on the nodes.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cluster::{Cluster, ImageOnNode};
use crate::context::Context;
use crate::exit::Exit;
use crate::out::{Sign, table};
use crate::report::Report;

/// Load, list and remove container images on the nodes
#[derive(clap::Args, Debug)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Send an image to every node; layers that are there already do not move
    Load {
        /// An image archive as `docker save` writes it, or an OCI layout: folder or archive
        #[arg(value_name = "ARCHIVE")]
        archives: Vec<PathBuf>,
    },
    /// List the images of a node
    #[command(visible_alias = "list")]
    Ls {
        /// How to print
        #[arg(long, value_enum, default_value_t = Form::Short)]
        format: Form,
    },
    /// Remove images from every node
    #[command(visible_aliases = ["remove", "unload"])]
    Rm {
        /// Images by name
        #[arg(value_name = "IMAGE")]
        images: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Short,
    Table,
    Json,
    Yaml,
}

pub(crate) fn run(ctx: &Context, args: &ImageArgs) -> Result<(), Report> {
    let cluster = Cluster::open(ctx)?;
    match &args.action {
        Action::Load { archives } => {
            if archives.is_empty() {
                return Err(Report::usage("which image? name an archive or a folder"));
            }
            for archive in archives {
                if !archive.exists() {
                    return Err(Report::new(
                        "MK_IMAGE_NOT_FOUND",
                        Exit::NOT_FOUND,
                        format!("there is no archive {}", archive.display()),
                    )
                    .advise("save it first: `docker save NAME -o FILE`")
                    .advise(
                        "or build it right there: `eval $(minik docker-env)`, `docker build …`",
                    ));
                }
                for loaded in cluster.load_image(archive)? {
                    ctx.out.info(Sign::Node, &loaded);
                }
            }
        }
        Action::Ls { format } => {
            let images = cluster.images()?;
            ctx.out.data(shown(&images, *format)?);
        }
        Action::Rm { images } => {
            for image in images {
                cluster.remove_image(image)?;
            }
        }
    }
    Ok(())
}

fn shown(images: &[ImageOnNode], form: Form) -> Result<String, Report> {
    let document = || -> Value {
        images
            .iter()
            .map(|image| {
                json!({
                    "id": image.digest.trim_start_matches("sha256:"),
                    "repoDigests": [format!("{}@{}", repository(&image.name), image.digest)],
                    "repoTags": [image.name],
                    "size": image.size,
                })
            })
            .collect()
    };
    Ok(match form {
        Form::Short => {
            images.iter().map(|image| image.name.as_str()).collect::<Vec<_>>().join("\n")
        }
        Form::Json => document().to_string(),
        Form::Yaml => serde_yaml::to_string(&document())
            .map_err(|err| Report::usage(err.to_string()))?
            .trim_end()
            .to_owned(),
        Form::Table => {
            let rows: Vec<Vec<String>> = images
                .iter()
                .map(|image| {
                    let id = image.digest.trim_start_matches("sha256:");
                    let id = id.get(..13).unwrap_or(id).to_owned();
                    vec![image.name.clone(), id, image.size.clone()]
                })
                .collect();
            table(&["IMAGE", "IMAGE ID", "SIZE"], &rows)
        }
    })
}

/// An image's name without its tag.
fn repository(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(repository("minik.test/web:1"), "minik.test/web");
        assert_eq!(repository("host:5000/web"), "host:5000/web");
    }

    #[test]
    fn images_as_minikube_lists_them() {
        let images = [ImageOnNode {
            name: "minik.test/web:1".to_owned(),
            digest: "sha256:0123456789abcdef".to_owned(),
            size: "1.2 MiB".to_owned(),
        }];
        assert_eq!(shown(&images, Form::Short).unwrap(), "minik.test/web:1");
        let json: Value = serde_json::from_str(&shown(&images, Form::Json).unwrap()).unwrap();
        assert_eq!(json[0]["repoTags"][0], "minik.test/web:1");
        assert_eq!(json[0]["id"], "0123456789abcdef");
    }
}
