//! Enums that are a closed set of words: metric labels, values in JSON, words of the Tapfile.

/// Declares an enum, one row for each variant with its label.
///
/// The lists `ALL` and `LABELS` and the method `label` are made from the same rows as the variants, so a variant cannot be
/// missing from them. `ALL` has the variants in the order of their declaration, which is the order in which they are shown. Without
/// explicit discriminants `variant as usize` is therefore the variant's place in `ALL`, and an array of `ALL.len()` counts
/// has a place for each.
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
            /// Every variant, in the order in which they are shown.
            $visibility const ALL: [Self; [$($label),+].len()] = [$(Self::$variant),+];

            /// The labels of all variants.
            #[allow(dead_code, reason = "most callers need the variants, too")]
            $visibility const LABELS: [&'static str; Self::ALL.len()] = [$($label),+];

            /// The word for it in metrics, logs, JSON and on the command line.
            $visibility const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }
        }
    };
}

pub(crate) use closed_set;
