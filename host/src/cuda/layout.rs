//! Structs of the kernels' sources, mirrored here field by field.
//!
//! [`kernel_struct!`] makes the mirror; a test then reads the source and compares every field's name, type, offset and
//! size, in order, so that a field that is added, moved or widened on one side alone fails without a GPU.

/// A `repr(C)` struct that a kernel gets by value: its name here, its name in the source, the source in `kernels/`.
macro_rules! kernel_struct {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident = $theirs:literal in $file:literal {
            $($(#[$field_attribute:meta])* $field:ident: $type:ty),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, Default)]
        #[repr(C)]
        $visibility struct $name { $($(#[$field_attribute])* $visibility $field: $type),* }

        // SAFETY: plain numbers in the C layout of the kernel's struct, which the test below compares; addresses are
        // the GPU's.
        #[allow(unsafe_code, reason = "the trait promises that the bits may be given to a kernel")]
        unsafe impl cudarc::driver::DeviceRepr for $name {}

        #[cfg(test)]
        impl $crate::cuda::layout::Mirror for $name {
            const THEIRS: (&'static str, &'static str) = ($file, $theirs);

            fn layout() -> (usize, Vec<$crate::cuda::layout::Field>) {
                let fields = vec![$($crate::cuda::layout::Field {
                    name: stringify!($field).to_owned(),
                    kind: $crate::cuda::layout::Kind::of($crate::cuda::layout::element(stringify!($type)).0),
                    len: $crate::cuda::layout::element(stringify!($type)).1,
                    offset: std::mem::offset_of!($name, $field),
                }),*];
                (size_of::<$name>(), fields)
            }
        }
    };
}
pub(crate) use kernel_struct;

#[cfg(test)]
pub(crate) use tests::{Field, Kind, Mirror, element};

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// What a field holds: its size and kind of number.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Kind {
        I32,
        U32,
        F32,
        F64,
        I64,
        /// Also an address.
        U64,
    }

    impl Kind {
        /// Of a Rust type.
        pub(crate) fn of(name: &str) -> Self {
            match name {
                "i32" => Self::I32,
                "u32" => Self::U32,
                "f32" => Self::F32,
                "f64" => Self::F64,
                "i64" => Self::I64,
                "u64" | "Address" => Self::U64,
                other => panic!("a kernel's struct has a field of type {other}"),
            }
        }

        /// Of a type in the kernels' sources; `pointer` if the name has a star.
        fn of_c(name: &str, pointer: bool) -> Self {
            match name.trim_start_matches("const ").trim() {
                _ if pointer => Self::U64,
                "int" | "i32" => Self::I32,
                "uint32_t" | "u32" => Self::U32,
                "float" => Self::F32,
                "double" => Self::F64,
                "long long" => Self::I64,
                "uint64_t" | "u64" | "unsigned long long" => Self::U64,
                other => panic!("a kernel's struct has a field of type {other}"),
            }
        }

        const fn bytes(self) -> usize {
            match self {
                Self::U64 | Self::I64 | Self::F64 => 8,
                Self::I32 | Self::U32 | Self::F32 => 4,
            }
        }
    }

    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Field {
        pub(crate) name: String,
        pub(crate) kind: Kind,
        /// Elements of an array, else 1.
        pub(crate) len: usize,
        pub(crate) offset: usize,
    }

    /// Type and number of the elements of a Rust type that may be an array.
    pub(crate) fn element(name: &str) -> (&str, usize) {
        match name.trim_matches(['[', ']']).split_once(';') {
            Some((kind, len)) => (kind, len.trim().parse().unwrap()),
            None => (name, 1),
        }
    }

    /// A struct made by `kernel_struct!`.
    pub(crate) trait Mirror {
        /// File in `kernels/`, name there.
        const THEIRS: (&'static str, &'static str);
        /// Bytes in all, and the fields.
        fn layout() -> (usize, Vec<Field>);
    }

    /// Size and fields of `struct NAME` in a source, by the rules of C: every field at the next multiple of its size.
    fn parse(source: &str, name: &str) -> (usize, Vec<Field>) {
        let (_, body) = source.split_once(&format!("struct {name} {{")).unwrap_or_else(|| panic!("no struct {name}"));
        let (body, _) = body.split_once("};").unwrap();
        let code: String = body.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join(" ");
        let (mut fields, mut end, mut widest) = (Vec::new(), 0usize, 1);
        for declaration in code.split(';').map(str::trim).filter(|d| !d.is_empty()) {
            let mut names: Vec<&str> = declaration.split(',').map(str::trim).collect();
            // The first still has the type before it.
            let at = names[0].rfind([' ', '*']).unwrap() + 1;
            let (kind, first) = names[0].split_at(at);
            names[0] = first;
            let starred = kind.contains('*');
            for (index, name) in names.iter().enumerate() {
                let pointer = name.starts_with('*') || starred && index == 0;
                assert!(index == 0 || pointer == starred, "{declaration}: pointers and values in one line");
                let kind = Kind::of_c(kind.trim_end_matches(['*', ' ']), pointer);
                let (name, len) = match name.trim_start_matches('*').split_once('[') {
                    Some((name, len)) => (name, len.trim_end_matches(']').parse().unwrap()),
                    None => (name.trim_start_matches('*'), 1),
                };
                let offset = end.next_multiple_of(kind.bytes());
                (end, widest) = (offset + kind.bytes() * len, widest.max(kind.bytes()));
                fields.push(Field { name: name.to_owned(), kind, len, offset });
            }
        }
        (end.next_multiple_of(widest), fields)
    }

    fn compare<M: Mirror>() {
        let (file, name) = M::THEIRS;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cuda/kernels").join(file);
        let theirs = parse(&std::fs::read_to_string(path).unwrap(), name);
        let ours = M::layout();
        assert!(theirs.1.len() > 2);
        for (index, (ours, theirs)) in ours.1.iter().zip(&theirs.1).enumerate() {
            assert_eq!(ours, theirs, "{name} in {file}: field {index}");
        }
        assert_eq!((ours.0, ours.1.len()), (theirs.0, theirs.1.len()), "{name} in {file}: size, number of fields");
    }

    #[test]
    fn structs_are_those_of_the_kernels() {
        use crate::cuda::train::args;
        use crate::cuda::{exact, float};
        compare::<float::persistent::Params>();
        compare::<exact::launch::Embed>();
        compare::<exact::launch::Norm>();
        compare::<exact::launch::Project>();
        compare::<exact::launch::Conv>();
        compare::<exact::launch::Scan>();
        compare::<exact::launch::ScanLayer>();
        compare::<exact::launch::Narrow>();
        compare::<exact::launch::Surprise>();
        compare::<exact::launch::Sample>();
        compare::<float::sampler::UnitsArgs>();
        compare::<float::scan::ScanArgs>();
        compare::<float::small::ConvArgs>();
        compare::<float::small::NormArgs>();
        compare::<float::small::EmbedArgs>();
        compare::<float::small::LogProbArgs>();
        compare::<args::TrainScanArgs>();
        compare::<args::TrainConvArgs>();
        compare::<args::TrainNormArgs>();
        compare::<args::CrossEntropyArgs>();
        compare::<args::EmbedSymbolsArgs>();
        compare::<args::EmbedBackArgs>();
        compare::<args::EmbedBackWideArgs>();
        compare::<args::SumRowsArgs>();
        compare::<args::SumPlanesArgs>();
        compare::<args::TotalArgs>();
        compare::<args::JudgeArgs>();
        compare::<args::AdamwArgs>();
        compare::<args::MuonBeginArgs>();
        compare::<args::MuonScaleArgs>();
        compare::<args::MuonEndArgs>();
        compare::<args::DecaysArgs>();
    }

    #[test]
    fn a_struct_is_laid_out_as_c_has_it() {
        let source = "struct A {\n    const int *p, *q; // two\n    float a;\n    u64 b;\n    int c, d;\n    const u8* e;\n    u32 f[3];\n};";
        let (size, fields) = parse(source, "A");
        let found: Vec<_> = fields.iter().map(|f| (f.name.as_str(), f.kind, f.len, f.offset)).collect();
        use Kind::{F32, I32, U32, U64};
        let expected = [
            ("p", U64, 1, 0),
            ("q", U64, 1, 8),
            ("a", F32, 1, 16),
            ("b", U64, 1, 24),
            ("c", I32, 1, 32),
            ("d", I32, 1, 36),
            ("e", U64, 1, 40),
            ("f", U32, 3, 48),
        ];
        assert_eq!((size, found.as_slice()), (64, expected.as_slice()));
    }
}
