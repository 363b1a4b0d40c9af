//! Whether what was given fits together, whoever gave it.

use super::{Param, Params};
use crate::error::{Error, Kind, Result};

impl Params {
    /// Looks whether all that is required is there, whatever requires something else has it, and nothing is given with what it
    /// conflicts with. `of` are all parameters that could be given.
    ///
    /// Errors: `Usage`, by the name of the first parameter that does not fit.
    pub fn check(&self, of: &[&Param]) -> Result<()> {
        let bad = |param: &Param, message: String| Error::new(Kind::Usage, format_args!("--{}", param.name), message);
        let written = |name: &str| of.iter().find(|p| p.name == name).map_or(String::new(), |p| p.written());
        for param in of {
            if !self.has(param.name) {
                if param.required {
                    return Err(bad(param, "is missing".to_owned()).hint(format_args!("give {}", param.written())));
                }
                continue;
            }
            if let Some(other) = param.requires.iter().find(|other| !self.has(other)) {
                let hint = format!("give {}, too", written(other));
                return Err(bad(param, format!("means nothing without --{other}")).hint(hint));
            }
            if let Some(other) = param.conflicts.iter().find(|other| self.has(other)) {
                return Err(bad(param, format!("cannot be given with --{other}")).hint("leave one of them out"));
            }
        }
        Ok(())
    }
}

impl Param {
    /// As it is given: `--name VALUE`.
    fn written(&self) -> String {
        format!("--{} {}", self.name, self.value).trim_end().to_owned()
    }
}
