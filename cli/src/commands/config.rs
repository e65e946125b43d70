//! `minik config`: read and change the defaults that later commands start from.

use crate::config::{self, Config, KEYS};
use crate::context::Context;
use crate::report::Report;

/// Read and change the defaults of later commands
#[derive(clap::Args, Debug)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Keep a value
    Set { name: String, value: String },
    /// Print a value that was set
    Get { name: String },
    /// Forget a value
    Unset { name: String },
    /// Print all values that were set
    View {
        /// How a line looks; knows `{{.ConfigKey}}` and `{{.ConfigValue}}`
        #[arg(long, default_value = "- {{.ConfigKey}}: {{.ConfigValue}}")]
        format: String,
    },
    /// Print every setting there is
    Defaults,
}

pub(crate) fn run(ctx: &Context, args: &ConfigArgs) -> Result<(), Report> {
    let mut config = Config::load(&ctx.folders.config)?;
    match &args.action {
        Action::Set { name, value } => {
            if config.set(name, value)?.shapes_machine {
                ctx.out.warning(
                    "These changes will take effect upon a minik delete and then a minik start",
                );
            }
        }
        Action::Get { name } => match config.get(config::find(name)?.name) {
            Some(value) => ctx.out.data(value),
            None => {
                return Err(Report::new(
                    "MK_CONFIG_NOT_SET",
                    crate::exit::Exit::FAILURE,
                    "specified key could not be found in config",
                ));
            }
        },
        Action::Unset { name } => config.unset(name)?,
        Action::View { format } => {
            for (name, value) in config.iter() {
                let line =
                    format.replace("{{.ConfigKey}}", name).replace("{{.ConfigValue}}", value);
                ctx.out.data(line);
            }
        }
        Action::Defaults => {
            let rows: Vec<Vec<String>> =
                KEYS.iter().map(|key| vec![key.name.to_owned(), key.meaning.to_owned()]).collect();
            ctx.out.data(crate::out::table(&["SETTING", "MEANING"], &rows));
        }
    }
    Ok(())
}
