//! `tombolo app`: the programs of the sample applications, so that a demo needs nothing else.

/// Run a program of the sample applications.
#[derive(clap::Args)]
pub(crate) struct App {
    /// Which one.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(tombolo_example_color::PROGRAMS))]
    program: String,
}

impl App {
    pub(crate) fn run(self) -> Result<i32, super::Error> {
        let environment = |name: &str| std::env::var(name).ok();
        tombolo_example_color::run(&self.program, &environment)?;
        Ok(0)
    }
}
