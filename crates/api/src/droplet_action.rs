//! What can be done to a machine: the body of `POST /v2/droplets/{id}/actions`.

use serde::{Deserialize, Serialize};

use crate::{IdOrName, Protocol};

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
    /// Gives its user root another password, which only this answer tells: `abbild.password`. QEMU's guest
    /// agent must run in it, or the action fails with that reason.
    PasswordReset,
    /// Gives it another size. It must be off. Its disk keeps its size unless `disk` is true, and never
    /// shrinks; the guest has the rest of a larger one when its file system is grown, which cloud-init
    /// does when it starts.
    Resize {
        /// Slug of the size.
        size: String,
        /// Whether the disk grows to the new size's.
        #[serde(default, deserialize_with = "crate::null_as_default")]
        #[cfg_attr(feature = "openapi", schema(nullable))]
        disk: bool,
    },
    /// Replaces its disk by a new one, made from an image that is available in its region, and starts it.
    /// It keeps its address, SSH keys and user data.
    Rebuild {
        /// Id of the image.
        image: IdOrName,
    },
    /// The same as `rebuild`: an image may be a snapshot.
    Restore {
        /// Id of the image.
        image: IdOrName,
    },
    /// Makes an image of its disk, which is that of one moment; the machine may run meanwhile, and its
    /// guest finds in a machine made from it what it would after a power cut.
    Snapshot {
        /// Name of the image; the machine's with the date when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// *Ours.* Starts another system in its place, with its disk as a further one, to repair what keeps
    /// it from starting. The guest is asked to shut down first, if it runs.
    Rescue {
        /// Id of an image of the account that is available in the machine's region; the built-in rescue
        /// system when absent. What is changed on it is lost at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<IdOrName>,
    },
    /// *Ours.* Ends the rescue, and starts the machine from its own disk.
    Unrescue,
    /// *Ours.* Has a port of its address lead into the guest, now and whenever it runs.
    Forward {
        /// Of the machine's address.
        port: u16,
        /// Of the guest; the same when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        guest_port: Option<u16>,
        /// TCP when absent.
        #[serde(default)]
        protocol: Protocol,
    },
    /// *Ours.* A port of its address leads into the guest no longer.
    Unforward {
        /// Of the machine's address.
        port: u16,
        /// TCP when absent.
        #[serde(default)]
        protocol: Protocol,
    },
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
            Self::PasswordReset => "password_reset",
            Self::Resize { .. } => "resize",
            Self::Rebuild { .. } => "rebuild",
            Self::Restore { .. } => "restore",
            Self::Snapshot { .. } => "snapshot",
            Self::Rescue { .. } => "rescue",
            Self::Unrescue => "unrescue",
            Self::Forward { .. } => "forward",
            Self::Unforward { .. } => "unforward",
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
        let size = "s-1vcpu-1gb".to_owned();
        let image = IdOrName::Id(7);
        for action in [
            DropletAction::PowerOn,
            DropletAction::PowerOff,
            DropletAction::Shutdown,
            DropletAction::Reboot,
            DropletAction::PowerCycle,
            DropletAction::PasswordReset,
            DropletAction::Resize { size, disk: true },
            DropletAction::Rebuild {
                image: image.clone(),
            },
            DropletAction::Restore { image },
            DropletAction::Snapshot { name: None },
            DropletAction::Forward {
                port: 8080,
                guest_port: Some(80),
                protocol: Protocol::Tcp,
            },
            DropletAction::Unforward {
                port: 53,
                protocol: Protocol::Udp,
            },
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
        let action = read(r#"{"type": "rebuild", "image": "77"}"#).unwrap();
        assert_eq!(
            action,
            DropletAction::Rebuild {
                image: IdOrName::Id(77)
            }
        );
        let action = read(r#"{"type": "resize", "size": "a", "disk": null}"#).unwrap();
        assert_eq!(
            action,
            DropletAction::Resize {
                size: "a".to_owned(),
                disk: false
            }
        );
        let error = read(r#"{"type": "explode"}"#).unwrap_err().to_string();
        assert!(error.contains("`explode`") && error.contains("`power_on`"));
    }
}
