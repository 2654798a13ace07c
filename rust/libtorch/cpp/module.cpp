// TorchScript modules and derivatives: what libtorch offers in C++ alone. Nothing that it throws leaves a function of
// this file; each returns whether it succeeded, and `ntl_message` says what went wrong.
#include <ATen/ATen.h>
#include <ATen/LegacyVmapMode.h>
#include <c10/core/DefaultDtype.h>
#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/frozen_graph_optimizations.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/passes/subgraph_rewrite.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/runtime/operator.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/headeronly/version.h>

#include <array>
#include <cstring>
#ifdef __GLIBC__
#include <malloc.h>
#endif

using at::Tensor;
using c10::IValue;
using torch::jit::Stack;

namespace {

thread_local std::string message;

template <typename F>
bool guarded(F body) {
  try {
    body();
    return true;
  } catch (const c10::Error& error) {
    message = error.what_without_backtrace();
  } catch (const std::exception& error) {
    message = error.what();
  } catch (...) {
    message = "libtorch threw something that is no exception of its own";
  }
  return false;
}

// An archive in memory that outlives the load.
struct Bytes final : caffe2::serialize::ReadAdapterInterface {
  Bytes(const char* data, size_t count) : data(data), count(count) {}
  size_t size() const override { return count; }
  size_t read(uint64_t at, void* to, size_t n, const char*) const override {
    if (at >= count) return 0;
    n = std::min<size_t>(n, count - at);
    std::memcpy(to, data + at, n);
    return n;
  }
  const char* data;
  size_t count;
};

at::Device device_of(int index) { return index < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, index); }

Tensor converted(const Tensor& tensor, at::ScalarType to) {
  return tensor.defined() && tensor.is_floating_point() ? tensor.to(to) : tensor;
}

bool is_float(int64_t code) {
  return code >= 0 && code < static_cast<int64_t>(at::ScalarType::NumOptions) &&
      at::isFloatingType(static_cast<at::ScalarType>(code));
}

// Lets the constants of a graph have one floating-point type and lie on one device, and the operations that name either
// give that.
void convert(torch::jit::Block* block, at::Device device, at::ScalarType to) {
  for (torch::jit::Node* node : block->nodes()) {
    for (torch::jit::Block* inner : node->blocks()) convert(inner, device, to);
    if (node->kind() == c10::prim::Constant && node->hasAttribute(c10::attr::value)) {
      if (node->kindOf(c10::attr::value) == torch::jit::AttributeKind::t)
        node->t_(c10::attr::value, converted(node->t(c10::attr::value), to).to(device));
      continue;
    }
    const c10::FunctionSchema* schema = node->maybeSchema();
    if (!schema) continue;
    for (size_t i = 0; i < schema->arguments().size() && i < node->inputs().size(); ++i) {
      auto value = torch::jit::toIValue(node->input(i));
      if (!value) continue;
      const std::string& name = schema->arguments()[i].name();
      IValue instead;
      if (name == "dtype" && value->isInt() && is_float(value->toInt())) instead = static_cast<int64_t>(to);
      if (name == "device" && value->isDevice()) instead = device;
      if (instead.isNone()) continue;
      torch::jit::WithInsertPoint here(node);
      node->replaceInput(i, node->owningGraph()->insertConstant(instead));
    }
  }
}

bool is_float_type(const c10::TypePtr& type) {
  if (auto optional = type->cast<c10::OptionalType>()) return is_float_type(optional->getElementType());
  if (auto list = type->cast<c10::ListType>()) return is_float_type(list->getElementType());
  return type->kind() == c10::TypeKind::FloatType;
}

// The same function in operations that have second derivatives.
void compose(std::shared_ptr<torch::jit::Graph>& graph) {
  torch::jit::SubgraphRewriter rewriter;
  rewriter.RegisterRewritePattern(
      R"IR(graph(%x):
      %y : Tensor = aten::hardsigmoid(%x)
      return (%y))IR",
      R"IR(graph(%x):
      %zero : int = prim::Constant[value=0]()
      %one : int = prim::Constant[value=1]()
      %three : int = prim::Constant[value=3]()
      %six : int = prim::Constant[value=6]()
      %shifted : Tensor = aten::add(%x, %three, %one)
      %cut : Tensor = aten::hardtanh(%shifted, %zero, %six)
      %y : Tensor = aten::div(%cut, %six)
      return (%y))IR");
  rewriter.runOnGraph(graph);
}

// The same forward with its attributes as constants and what is linear behind a convolution, as a BatchNorm, folded into
// it; the forward itself where that cannot be.
std::shared_ptr<torch::jit::Graph> folded(const torch::jit::Module& module, std::shared_ptr<torch::jit::Graph> forward) {
  try {
    torch::jit::Module frozen = module.clone(/*inplace=*/true);
    torch::jit::freeze_module_inplace(&frozen);
    auto graph = frozen.get_method("forward").graph()->copy();
    torch::jit::OptimizeFrozenGraph(graph);
    if (!graph->inputs()[0]->hasUses()) return graph;
  } catch (const std::exception&) {
    // A module that keeps a state cannot be frozen.
  }
  return forward;
}

// A module with its forward, all calls inlined.
struct Module {
  torch::jit::Module module;
  std::vector<c10::Argument> arguments;  // without the module itself
  std::vector<char> is_written;          // whether forward writes into each
  std::array<torch::jit::GraphExecutor, 3> forward;  // for values, and for derivatives of the first and second order
  std::vector<std::pair<std::string, Tensor>> parameters;
};

void prepare(Module& self, at::Device device, at::ScalarType dtype) {
  torch::jit::Module& module = self.module;
  module.eval();
  for (torch::jit::Module part : module.modules()) {
    auto type = part.type();
    for (size_t i = 0; i < type->numAttributes(); ++i) {
      IValue value = part._ivalue()->getSlot(i);
      if (!value.isTensor() || !value.toTensor().defined()) continue;
      Tensor tensor = value.toTensor();
      // In place, so that tensors which are shared stay so.
      c10::NoGradGuard guard;
      tensor.set_data(converted(tensor.detach(), dtype).to(device));
      if (type->is_parameter(i)) tensor.set_requires_grad(tensor.is_floating_point());
    }
  }
  for (const auto& named : module.named_parameters())
    if (named.value.is_floating_point()) self.parameters.emplace_back(named.name, named.value);

  auto method = module.find_method("forward");
  if (!method) method = module.find_method("forward__0");
  TORCH_CHECK(method, "the module has no forward");
  const auto& all = method->function().getSchema().arguments();
  self.arguments.assign(all.begin() + 1, all.end());
  auto graph = torch::jit::toGraphFunction(method->function()).graph();
  torch::jit::Inline(*graph);
  convert(graph->block(), device, dtype);
  torch::jit::AliasDb aliases(graph);
  for (size_t i = 1; i < graph->inputs().size(); ++i) self.is_written.push_back(aliases.hasWriters(graph->inputs()[i]));
  // The simple executor runs the operations as they stand: derivatives of any order are those of eager torch.
  auto executor = [](const std::shared_ptr<torch::jit::Graph>& graph) {
    return torch::jit::GraphExecutor(graph, "forward", torch::jit::ExecutorExecutionMode::SIMPLE);
  };
  auto composed = graph->copy();
  compose(composed);
  self.forward = {executor(folded(module, graph)), executor(graph), executor(composed)};
}

// The tensors that are given, one after another.
struct Given {
  Tensor** tensors;
  size_t count;
  size_t used = 0;

  Tensor next(const std::string& name) {
    TORCH_CHECK(used < count, "forward takes more tensors than the ", count, " that were given: `", name, "` is missing");
    return *tensors[used++];
  }
};

bool takes_tensor(const c10::TypePtr& type) {
  if (type->kind() == c10::TypeKind::TensorType) return true;
  auto optional = type->cast<c10::OptionalType>();
  return optional && optional->getElementType()->kind() == c10::TypeKind::TensorType;
}

size_t needed(const c10::TypePtr& type) {
  if (takes_tensor(type)) return 1;
  size_t sum = 0;
  if (auto tuple = type->cast<c10::TupleType>())
    for (const auto& part : tuple->elements()) sum += needed(part);
  return sum;
}

IValue argument(const c10::TypePtr& type, const std::string& name, Given& given, size_t listed) {
  if (takes_tensor(type)) return given.next(name);
  if (auto tuple = type->cast<c10::TupleType>()) {
    std::vector<IValue> parts;
    for (size_t i = 0; i < tuple->elements().size(); ++i)
      parts.push_back(argument(tuple->elements()[i], name + "." + std::to_string(i), given, listed));
    return c10::ivalue::Tuple::create(std::move(parts));
  }
  auto list = type->cast<c10::ListType>();
  if (list && list->getElementType()->kind() == c10::TypeKind::TensorType) {
    c10::List<Tensor> parts;
    for (size_t i = 0; i < listed; ++i) parts.push_back(given.next(name));
    return parts;
  }
  TORCH_CHECK(type->kind() == c10::TypeKind::OptionalType || type->kind() == c10::TypeKind::NoneType,
              "the input `", name, "` is of type ", type->str(), "; tensors, tuples and lists of them are taken");
  return IValue();
}

Stack stack_of(const Module& self, Given given) {
  size_t least = 0;
  for (const auto& one : self.arguments)
    if (!one.default_value()) least += needed(one.type());
  size_t rest = given.count > least ? given.count - least : 0;
  Stack stack{self.module._ivalue()};
  for (size_t i = 0; i < self.arguments.size(); ++i) {
    const auto& one = self.arguments[i];
    bool is_optional = one.default_value() && takes_tensor(one.type()) && rest > 0;
    if (is_optional) --rest;
    stack.push_back(
        !one.default_value() || is_optional ? argument(one.type(), one.name(), given, rest) : *one.default_value());
    if (self.is_written[i] && stack.back().isTensor()) stack.back() = stack.back().toTensor().clone();
  }
  TORCH_CHECK(given.used == given.count, "forward takes ", given.used, " tensors, but ", given.count, " were given");
  return stack;
}

using Give = void (*)(void* context, const char* name, Tensor* tensor);

// Gives the tensors of a result under the keys that lead to them.
void flatten(const IValue& value, const std::string& path, void* context, Give give) {
  auto below = [&](const std::string& key) { return path.empty() ? key : path + "." + key; };
  if (value.isTensor()) {
    bool is_named = !path.empty() && !std::isdigit(static_cast<unsigned char>(path[0]));
    std::string name = path.empty() ? "output" : is_named ? path : "output." + path;
    give(context, name.c_str(), new Tensor(value.toTensor()));
  } else if (value.isTuple()) {
    const auto& elements = value.toTupleRef().elements();
    auto schema = value.type()->cast<c10::TupleType>()->schema();
    for (size_t i = 0; i < elements.size(); ++i)
      flatten(elements[i], below(schema ? schema->arguments()[i].name() : std::to_string(i)), context, give);
  } else if (value.isList()) {
    size_t i = 0;
    for (const IValue& element : value.toListRef()) flatten(element, below(std::to_string(i++)), context, give);
  } else if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict()) {
      std::string key = entry.key().isString() ? entry.key().toStringRef() : c10::str(entry.key());
      flatten(entry.value(), below(key), context, give);
    }
  }
}

torch::autograd::variable_list list_of(Tensor** tensors, size_t count) {
  torch::autograd::variable_list list;
  for (size_t i = 0; i < count; ++i) list.push_back(*tensors[i]);
  return list;
}

// Runs `body` once for all entries of the first dimension of a tensor, as `torch.autograd.grad` does with `is_grads_batched`.
template <typename F>
std::vector<Tensor> mapped(const Tensor& over, F body) {
  struct Level {
    int64_t level = at::impl::VmapMode::increment_nesting();
    ~Level() { at::impl::VmapMode::decrement_nesting(); }
  } here;
  std::vector<Tensor> results = body(at::_add_batch_dim(over, 0, here.level));
  for (Tensor& result : results)
    if (result.defined()) result = at::_remove_batch_dim(result, here.level, over.size(0), 0);
  return results;
}

}  // namespace

extern "C" {

const char* ntl_message() { return message.c_str(); }

// The versions that this was compiled for and that is loaded: major, minor and patch, a byte each.
uint32_t ntl_compiled_for() { return static_cast<uint32_t>(TORCH_ABI_VERSION >> 40); }
uint32_t ntl_loaded() { return static_cast<uint32_t>(aoti_torch_abi_version() >> 40); }

// Attention by kernels that have one derivative only would leave the Hessian without an answer; single precision with
// products of 11 bits is none. The C library gives memory back to the system that the next call wants again: bringing it
// in takes up to a quarter of a forward pass.
void ntl_configure() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 128 << 20);
#endif
  at::globalContext().setSDPUseFlash(false);
  at::globalContext().setSDPUseMemEfficient(false);
  at::globalContext().setSDPUseCuDNN(false);
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setAllowTF32CuBLAS(false);
}

// What operations give that make floating-point numbers of integers alone, in the whole process.
void ntl_set_default(bool is_double) { c10::set_default_dtype(is_double ? caffe2::TypeMeta::Make<double>() : caffe2::TypeMeta::Make<float>()); }

// Visits the parameters of the operation of a name like `aten::add.Tensor`, with whether each is a float and whether it is
// given by name alone.
bool ntl_operation(const char* name, void* context, void (*visit)(void*, const char*, uint32_t, uint32_t)) {
  bool is_there = false;
  bool done = guarded([&] {
    std::string all(name);
    size_t dot = all.find('.');
    std::string overload = dot == std::string::npos ? "" : all.substr(dot + 1);
    auto found = torch::jit::findOperatorFor(c10::OperatorName(all.substr(0, dot), overload));
    is_there = found != nullptr;
    if (!found) {
      // Not thrown: to ask is no mistake.
      message = "there is no operation " + all;
      return;
    }
    for (const auto& one : found->schema().arguments())
      visit(context, one.name().c_str(), is_float_type(one.type()), one.kwarg_only());
  });
  return done && is_there;
}

Module* ntl_load(const char* data, size_t count, int device, bool is_double) {
  auto self = std::make_unique<Module>();
  bool done = guarded([&] {
    at::Device on = device_of(device);
    self->module = torch::jit::load(std::make_shared<Bytes>(data, count), on);
    prepare(*self, on, is_double ? at::kDouble : at::kFloat);
  });
  return done ? self.release() : nullptr;
}

void ntl_free(Module* self) { delete self; }

bool ntl_parameters(const Module* self, void* context, Give give) {
  return guarded([&] {
    for (const auto& [name, tensor] : self->parameters) give(context, name.c_str(), new Tensor(tensor));
  });
}

bool ntl_forward(Module* self, Tensor** inputs, size_t count, uint32_t order, void* context, Give give) {
  return guarded([&] {
    Stack stack = stack_of(*self, Given{inputs, count});
    self->forward.at(order).run(stack);
    flatten(stack.at(0), "", context, give);
  });
}

// The derivatives of the sum of the products of `outputs` and `weights`, by each of `inputs`; nullptr where there is none.
// With `mapped_over`, the first dimension of the only weight counts the sums.
bool ntl_gradient(Tensor* output, Tensor* weight, Tensor** inputs, size_t count, bool differentiable, bool mapped_over,
                  Tensor** gradients) {
  return guarded([&] {
    auto gradient = [&](const Tensor& weight) {
      return torch::autograd::grad(
          {*output}, list_of(inputs, count), {weight}, /*retain_graph=*/true, differentiable, /*allow_unused=*/true);
    };
    auto results = mapped_over ? mapped(*weight, gradient) : gradient(*weight);
    for (size_t i = 0; i < count; ++i) gradients[i] = results[i].defined() ? new Tensor(results[i]) : nullptr;
  });
}
}
