//! A graph that is being made: operations and tensors, each with a name of its own.

use super::proto::{
    Attribute, Dimension, FLOAT, Graph, INT, INT64, INTS, Kind, Node, Shape, Tensor, TensorKind, Value,
};

/// Where the operations of a part have their names from.
#[derive(Default)]
pub(super) struct Maker {
    nodes: Vec<Node>,
    initializers: Vec<Tensor>,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
    /// What the names of values begin with: where they are in the model.
    pub(super) part: String,
}

/// The axis of an operation.
pub(super) fn axis(axis: i64) -> Attribute {
    Attribute { name: Some("axis".into()), int: Some(axis), kind: Some(INT), ..Attribute::default() }
}

/// The axes of an operation, and whether they stay, with one element.
pub(super) fn axes(axes: &[i64]) -> Attribute {
    Attribute { name: Some("axes".into()), ints: axes.to_vec(), kind: Some(INTS), ..Attribute::default() }
}

/// Another integer that an operation is told.
pub(super) fn integer(name: &str, value: i64) -> Attribute {
    Attribute { name: Some(name.into()), int: Some(value), kind: Some(INT), ..Attribute::default() }
}

impl Maker {
    /// An operation with some outputs, called by its place and `names`; the names of these outputs.
    fn node<const N: usize>(
        &mut self,
        operator: &str,
        inputs: &[&str],
        names: [&str; N],
        attributes: Vec<Attribute>,
    ) -> [String; N] {
        let outputs = names.map(|name| format!("{}{name}", self.part));
        self.nodes.push(Node {
            inputs: inputs.iter().map(|&name| name.to_owned()).collect(),
            outputs: outputs.to_vec(),
            name: outputs.first().map(|first| format!("{first}:{operator}")),
            operator: Some(operator.to_owned()),
            attributes,
        });
        outputs
    }

    /// An operation with one output.
    pub(super) fn op(&mut self, operator: &str, inputs: &[&str], name: &str) -> String {
        self.op_with(operator, inputs, name, Vec::new())
    }

    /// An operation with one output and attributes.
    pub(super) fn op_with(&mut self, operator: &str, inputs: &[&str], name: &str, told: Vec<Attribute>) -> String {
        let [output] = self.node(operator, inputs, [name], told);
        output
    }

    /// Parts of a tensor along its axis 1, as many columns as `sizes` says.
    pub(super) fn split<const N: usize>(&mut self, input: &str, sizes: &str, names: [&str; N]) -> [String; N] {
        self.node("Split", &[input, sizes], names, vec![axis(1)])
    }

    /// `input [batch, columns]` times `weight [rows, columns]`, and a bias.
    pub(super) fn project(&mut self, input: &str, weight: &str, bias: Option<&str>, name: &str) -> String {
        let inputs: Vec<&str> = [input, weight].into_iter().chain(bias).collect();
        self.op_with("Gemm", &inputs, name, vec![integer("transB", 1)])
    }

    /// A tensor with one more axis, of one element.
    pub(super) fn unsqueeze(&mut self, input: &str, at: &str, name: &str) -> String {
        self.op("Unsqueeze", &[input, at], name)
    }

    /// `x * sigmoid(x)`.
    pub(super) fn silu(&mut self, input: &str, name: &str) -> String {
        let sigmoid = self.op("Sigmoid", &[input], &format!("{name}_sigmoid"));
        self.op("Mul", &[input, &sigmoid], name)
    }

    /// Numbers in the file; their name.
    pub(super) fn floats(&mut self, name: &str, dims: &[usize], values: impl Iterator<Item = f32>) -> String {
        self.tensor(name, dims, FLOAT, values.flat_map(f32::to_le_bytes).collect())
    }

    /// Integers in the file; their name. Without `dims` it is one number.
    pub(super) fn integers(&mut self, name: &str, dims: &[usize], values: &[i64]) -> String {
        self.tensor(name, dims, INT64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn tensor(&mut self, name: &str, dims: &[usize], element: i32, raw: Vec<u8>) -> String {
        self.initializers.push(Tensor {
            dims: dims.iter().map(|&n| n as i64).collect(),
            element: Some(element),
            name: Some(name.to_owned()),
            raw: Some(raw),
        });
        name.to_owned()
    }

    /// An input of the graph; `None` is the number of streams.
    pub(super) fn input(&mut self, name: &str, element: i32, shape: &[Option<usize>], about: &str) -> String {
        self.inputs.push(value(name, element, shape, about));
        name.to_owned()
    }

    /// An output of the graph: the value of that name.
    pub(super) fn output(&mut self, name: &str, shape: &[Option<usize>], about: &str) {
        self.outputs.push(value(name, FLOAT, shape, about));
    }

    /// The graph.
    pub(super) fn finish(self, name: &str) -> Graph {
        let Self { nodes, initializers, inputs, outputs, .. } = self;
        Graph { nodes, name: Some(name.to_owned()), initializers, inputs, outputs }
    }
}

fn value(name: &str, element: i32, shape: &[Option<usize>], about: &str) -> Value {
    let dim = |n: &Option<usize>| match n {
        Some(n) => Dimension { value: Some(*n as i64), name: None },
        None => Dimension { value: None, name: Some("batch".to_owned()) },
    };
    let shape = Some(Shape { dims: shape.iter().map(dim).collect() });
    Value {
        name: Some(name.to_owned()),
        kind: Some(Kind { tensor: Some(TensorKind { element: Some(element), shape }) }),
        doc_string: Some(about.to_owned()),
    }
}
