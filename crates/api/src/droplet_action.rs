//! What can be done to a machine: the body of `POST /v2/droplets/{id}/actions`.

use serde::{Deserialize, Serialize};

/// An action with its parameters. `type` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "openapi",
    schema(example = json!({"type": "power_on"}))
)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DropletAction {
    /// Starts it. Of a machine that runs, this is done at once.
    PowerOn,
    /// Ends it at once, as if the power cord were pulled.
    PowerOff,
    /// Asks the guest to shut down, as by its power button, and ends it if it has not after a while.
    Shutdown,
    /// Asks the guest to shut down, ends it if it has not after a while, and starts it again.
    Reboot,
    /// Ends it at once, and starts it again.
    PowerCycle,
    /// Gives it another name. Its config drive has it from the next start on; a guest that has been
    /// set up by cloud-init keeps the host name that it has.
    Rename {
        /// The new name: a-z, A-Z, 0-9, `.` and `-`, at most 255 characters.
        name: String,
    },
}

impl DropletAction {
    /// Its name on the wire, the `type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PowerOn => "power_on",
            Self::PowerOff => "power_off",
            Self::Shutdown => "shutdown",
            Self::Reboot => "reboot",
            Self::PowerCycle => "power_cycle",
            Self::Rename { .. } => "rename",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_the_type_on_the_wire() {
        let name = "web".to_owned();
        for action in [
            DropletAction::PowerOn,
            DropletAction::PowerOff,
            DropletAction::Shutdown,
            DropletAction::Reboot,
            DropletAction::PowerCycle,
            DropletAction::Rename { name },
        ] {
            let json = serde_json::to_value(&action).unwrap();
            assert_eq!(json["type"], action.kind());
            let back: DropletAction = serde_json::from_value(json).unwrap();
            assert_eq!(back, action);
        }
    }

    #[test]
    fn unknown_members_are_ignored_and_unknown_types_are_not() {
        let read = serde_json::from_str::<DropletAction>;
        let action = read(r#"{"type": "reboot", "timeout": 3}"#).unwrap();
        assert_eq!(action, DropletAction::Reboot);
        let error = read(r#"{"type": "explode"}"#).unwrap_err().to_string();
        assert!(error.contains("`explode`") && error.contains("`power_on`"));
    }
}
