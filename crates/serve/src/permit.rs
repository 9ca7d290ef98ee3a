//! Who may do what: the one table of permissions, as a pure function.
//!
//! An account belongs to one institution and has one role. What it does concerns its own
//! institution, or another one, or the archive as a whole (which nobody owns, and so counts as
//! another's). The archive's own institution, `local`, is its *house*: administrators and auditors of
//! the house see to all institutions; those of any other, to their own. Contents are for depositors
//! and administrators of the institution that owns them, and for nobody else, the house included.

use strongroom_registry::Role;

/// The institution whose administrators see to the whole archive.
pub const HOUSE: &str = "local";

/// Makes an enum of words, with all of them and their words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }
        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$variant),*];
            /// The word.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
        }
    };
}

words! {
    /// What can be done.
    Action {
        /// List and show objects, versions and their files.
        Catalogue = "catalogue",
        /// Read and verify events.
        Events = "events",
        /// Read what is in files.
        Contents = "contents",
        /// Put records in.
        Deposit = "deposit",
        /// Bring records back.
        Restore = "restore",
        /// List and show work.
        WatchWork = "watch-work",
        /// Requeue and cancel work.
        SteerWork = "steer-work",
        /// See how the archive and its shelves stand, and its metrics.
        Status = "status",
        /// Have texts analysed, by rules of one's own.
        Analyse = "analyse",
        /// List institutions.
        Institutions = "institutions",
        /// Make an institution and its key.
        AddInstitution = "add-institution",
        /// List accounts and others' tokens.
        Accounts = "accounts",
        /// Make, disable and enable accounts; make and revoke their tokens.
        ManageAccounts = "manage-accounts",
        /// See, make and revoke one's own tokens.
        OwnTokens = "own-tokens",
    }
}

words! {
    /// What a token may be used for.
    Scope {
        /// To look: catalogue, events, work, status.
        Read = "read",
        /// To put records in.
        Deposit = "deposit",
        /// To read contents and bring them back.
        Restore = "restore",
        /// To requeue and cancel work.
        Work = "work",
        /// To have texts analysed.
        Text = "text",
        /// To manage institutions, accounts and tokens.
        Admin = "admin",
    }
}

impl Scope {
    /// Of words parted by spaces; what is no word of it is given back.
    pub fn parse(words: &str) -> Result<Vec<Scope>, &str> {
        let one = |word| Scope::ALL.iter().copied().find(|s| s.word() == word).ok_or(word);
        words.split_whitespace().map(one).collect()
    }

    /// As words parted by spaces.
    pub fn words(scopes: &[Scope]) -> String {
        scopes.iter().map(|s| s.word()).collect::<Vec<_>>().join(" ")
    }
}

impl Action {
    /// The scope that a token needs for it.
    pub fn scope(self) -> Scope {
        match self {
            Action::Catalogue
            | Action::Events
            | Action::WatchWork
            | Action::Status
            | Action::Institutions
            | Action::Accounts => Scope::Read,
            Action::Contents | Action::Restore => Scope::Restore,
            Action::Deposit => Scope::Deposit,
            Action::SteerWork => Scope::Work,
            Action::Analyse => Scope::Text,
            Action::AddInstitution | Action::ManageAccounts | Action::OwnTokens => Scope::Admin,
        }
    }
}

/// Whom an act concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// The account's own institution.
    Own,
    /// Another institution, or the archive as a whole.
    Others,
}

/// How far a role's right to an action goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reach {
    /// Nowhere.
    No,
    /// To the account's own institution.
    Own,
    /// To the own one, and from the house to all.
    House,
    /// To all.
    All,
}

/// The table. A column for each role.
#[rustfmt::skip]
fn reach(action: Action, role: Role) -> Reach {
    use Reach::{All, House, No, Own};
    //                                      depositor  admin  auditor  observer  node keeper
    let [depositor, administrator, auditor, observer, node_keeper] = match action {
        Action::Catalogue      => [         Own,       House, House,   Own,      No  ],
        Action::Events         => [         Own,       House, House,   Own,      No  ],
        Action::Contents       => [         Own,       Own,   No,      No,       No  ],
        Action::Deposit        => [         Own,       Own,   No,      No,       No  ],
        Action::Restore        => [         Own,       Own,   No,      No,       No  ],
        Action::WatchWork      => [         Own,       House, House,   Own,      No  ],
        Action::SteerWork      => [         Own,       House, No,      No,       No  ],
        Action::Status         => [         No,        All,   All,     All,      All ],
        Action::Analyse        => [         Own,       Own,   Own,     Own,      No  ],
        Action::Institutions   => [         All,       All,   All,     All,      All ],
        Action::AddInstitution => [         No,        House, No,      No,       No  ],
        Action::Accounts       => [         No,        House, House,   No,       No  ],
        Action::ManageAccounts => [         No,        House, No,      No,       No  ],
        Action::OwnTokens      => [         Own,       Own,   Own,     Own,      Own ],
    };
    match role {
        Role::Depositor => depositor,
        Role::Administrator => administrator,
        Role::Auditor => auditor,
        Role::Observer => observer,
        Role::NodeKeeper => node_keeper,
    }
}

/// Whether an account of this role, in the house or not, may do this to whom it concerns.
pub fn allows(role: Role, in_house: bool, action: Action, whose: Whose) -> bool {
    match reach(action, role) {
        Reach::No => false,
        Reach::Own => whose == Whose::Own,
        Reach::House => whose == Whose::Own || in_house,
        Reach::All => true,
    }
}
