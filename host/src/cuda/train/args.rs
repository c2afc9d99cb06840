//! Parameters of the kernels of training, mirrored. What they mean is in the sources.

use crate::cuda::layout::kernel_struct;

kernel_struct! {
    pub(crate) struct TrainScanArgs = "TrainScanArgs" in "train_scan.cu" {
        u: u64,
        delta_raw: u64,
        z: u64,
        bc: u64,
        y: u64,
        out: u64,
        dout: u64,
        du: u64,
        ddelta: u64,
        dz: u64,
        a: u64,
        delta_bias: u64,
        d_skip: u64,
        h_before: u64,
        h_after: u64,
        checkpoints: u64,
        age: u64,
        dbc: u64,
        da_log: u64,
        dd_skip: u64,
        ddelta_bias: u64,
        ld_u: i32,
        ld_delta: i32,
        ld_z: i32,
        ld_bc: i32,
        ld_out: i32,
        d_inner: i32,
        n_state: i32,
        n_pad: i32,
        seq_len: i32,
        h_stride: i32,
    }
}

kernel_struct! {
    pub(crate) struct TrainConvArgs = "TrainConvArgs" in "train_conv.cu" {
        x: u64,
        out: u64,
        dout: u64,
        dx: u64,
        w: u64,
        bias: u64,
        history: u64,
        history_after: u64,
        age: u64,
        partial: u64,
        ld_x: i32,
        ld_out: i32,
        ld_dout: i32,
        ld_dx: i32,
        d_inner: i32,
        seq_len: i32,
        batch: i32,
        history_stride: i32,
    }
}

kernel_struct! {
    pub(crate) struct TrainNormArgs = "TrainNormArgs" in "train_norm.cu" {
        x: u64,
        weight: u64,
        dout: u64,
        dres: u64,
        rounded: u64,
        partial: u64,
        eps: f32,
        rows: i32,
        d_model: i32,
        centred: i32,
    }
}

kernel_struct! {
    pub(crate) struct CrossEntropyArgs = "CrossEntropyArgs" in "train_sums.cu" {
        logits: u64,
        next: u64,
        dlogits: u64,
        nats: u64,
        targets: u64,
        rows: i32,
        share: f32,
        columns: i32,
        ld: i32,
    }
}

kernel_struct! {
    pub(crate) struct EmbedSymbolsArgs = "EmbedSymbolsArgs" in "train_sums.cu" {
        symbols: u64,
        embedding: u64,
        residual: u64,
        rows: i32,
        ld: i32,
    }
}

kernel_struct! {
    pub(crate) struct EmbedBackWideArgs = "EmbedBackWideArgs" in "train_sums.cu" {
        order: u64,
        start: u64,
        dres: u64,
        grad: u64,
        d_model: i32,
        add: i32,
    }
}

kernel_struct! {
    pub(crate) struct EmbedBackArgs = "EmbedBackArgs" in "train_sums.cu" {
        symbols: u64,
        dres: u64,
        partial: u64,
        rows: i32,
        d_model: i32,
        segment: i32,
    }
}

kernel_struct! {
    pub(crate) struct SumRowsArgs = "SumRowsArgs" in "train_sums.cu" {
        partial: u64,
        out: u64,
        rows: i32,
        width: i32,
        ld: i32,
        per_group: i32,
        add: i32,
    }
}

kernel_struct! {
    pub(crate) struct SumPlanesArgs = "SumPlanesArgs" in "train_sums.cu" {
        dbc: u64,
        out: u64,
        planes: i32,
        rows: i32,
        np: i32,
        n_pad: i32,
        ld: i32,
    }
}

kernel_struct! {
    pub(crate) struct SoftenArgs = "SoftenArgs" in "train_sums.cu" {
        logits: u64,
        targets: u64,
        rows: i32,
        add: i32,
        weight: f32,
    }
}

kernel_struct! {
    pub(crate) struct RoundArgs = "RoundArgs" in "optimizer.cu" {
        w: u64,
        rounded: u64,
        groups: i64,
        columns: i32,
        group: i32,
        largest: f32,
    }
}

kernel_struct! {
    pub(crate) struct TotalArgs = "TotalArgs" in "optimizer.cu" {
        values: u64,
        partial: u64,
        n: i64,
        squares: i32,
    }
}

kernel_struct! {
    pub(crate) struct JudgeArgs = "JudgeArgs" in "optimizer.cu" {
        squares: u64,
        nats: u64,
        outcome: u64,
        mean: f64,
        limit: f64,
    }
}

kernel_struct! {
    pub(crate) struct AdamwArgs = "AdamwArgs" in "optimizer.cu" {
        w: u64,
        grad: u64,
        m: u64,
        v: u64,
        average: u64,
        rounded: u64,
        outcome: u64,
        n: i64,
        decaying: i64,
        keep: f32,
        rate: f32,
        c0: f32,
        c1: f32,
        share: f32,
    }
}

kernel_struct! {
    pub(crate) struct MuonBeginArgs = "MuonBeginArgs" in "optimizer.cu" {
        grad: u64,
        m: u64,
        x: u64,
        partial: u64,
        outcome: u64,
        size: i64,
    }
}

kernel_struct! {
    pub(crate) struct MuonScaleArgs = "MuonScaleArgs" in "optimizer.cu" {
        x: u64,
        out: u64,
        partial: u64,
        outcome: u64,
        size: i64,
    }
}

kernel_struct! {
    pub(crate) struct MuonEndArgs = "MuonEndArgs" in "optimizer.cu" {
        w: u64,
        update: u64,
        average: u64,
        rounded: u64,
        outcome: u64,
        n: i64,
        keep: f32,
        scale: f32,
        share: f32,
    }
}

kernel_struct! {
    pub(crate) struct DecaysArgs = "DecaysArgs" in "optimizer.cu" {
        a_log: u64,
        a: u64,
        n: i64,
    }
}
