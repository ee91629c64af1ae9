//! Enums that are a closed set of words: metric labels, values in JSON, or words of the Tapfile.

/// Declares an enum. Each row is a variant with its label, the word that stands for the variant in output.
///
/// The lists `ALL` and `LABELS`, the method `label` and `Display` are made from the same rows as the variants, so no
/// variant can be missing. `ALL` has the variants in the order of their declaration, and output shows them in that
/// order. Unless a variant has an explicit discriminant, `variant as usize` is the index of the variant in `ALL`. An
/// array of length `ALL.len()` therefore has an element for each variant.
macro_rules! closed_set {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$variant_attribute:meta])* $variant:ident => $label:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[non_exhaustive]
        $visibility enum $name {
            $($(#[$variant_attribute])* $variant,)+
        }

        impl $name {
            /// Every variant, in the order in which output shows them.
            $visibility const ALL: [Self; [$($label),+].len()] = [$(Self::$variant),+];

            /// The labels of all variants.
            #[allow(dead_code, reason = "most callers need the variants, too")]
            $visibility const LABELS: [&'static str; Self::ALL.len()] = [$($label),+];

            /// The word for this variant in metrics, logs, JSON and on the command line.
            $visibility const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }

            /// Returns the variant with this label.
            #[allow(dead_code, reason = "most sets are only written")]
            pub(crate) fn of_label(label: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|one| one.label() == label)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.label())
            }
        }
    };
}

pub(crate) use closed_set;
