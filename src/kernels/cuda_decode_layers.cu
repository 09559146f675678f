// All layers of a narrow model for one new token of a few texts, in one kernel: a cluster of blocks takes a text or
// several. A layer's matrices come into the cluster's shared memory while the layer before is computed, and between
// steps blocks send what they made to each other's. Every sum has the order that the kernels of single steps have:
// row_product's and decode_attention's.
#include "kernels/cuda_activation.cuh"
#include "kernels/cuda_decode_layers.cuh"
#include "kernels/cuda_early.cuh"

namespace demask::kernels::cuda::launch {
namespace {

// Beyond which a block mixes too many heads in turn: as many texts decode faster by the kernels of single steps.
constexpr int64_t most_texts_each = 4;
static_assert(most_texts_each <= cluster_rows);

template <typename T, typename Plan>
struct Layers {
  using Memory = LayersMemory<T, Plan>;
  static constexpr int value_bytes = static_cast<int>(sizeof(T));
  static constexpr int x_stride = Plan::QueryKeyValue::stride, qkv_stride = 3 * Plan::width;
  static constexpr int held_chunks = (Plan::width / Chunk<T>::size + warp_size - 1) / warp_size;  // of a row, by a lane

  const DecodeLayersArguments& a;
  Memory& memory;
  float* found;  // [rows, heads, active, found_values]
  DecodeShared<T, 1> attention;
  ClusterThread thread;
  int first_row, rows, heads, width, active;
  int64_t position;
  bool present;  // whether the thread's row is
  Share share;
  Step<T, typename Plan::QueryKeyValue> query_key_value;
  Step<T, typename Plan::Projection> projection;
  Step<T, typename Plan::Expand> expand;
  Step<T, typename Plan::Contract> contract;
  AttentionUnit first_unit;              // of the block
  PastPart past;                         // the first unit's, in the layer to come
  int column, column_head, column_part;  // of a text's heads side by side, that the thread merges
  RowProductArguments normed;

  __device__ Layers(const DecodeLayersArguments& arguments, unsigned char* shared)
      : a(arguments),
        memory(*reinterpret_cast<Memory*>(shared)),
        found(reinterpret_cast<float*>(shared + sizeof(Memory))),
        attention(shared + sizeof(Memory) + found_bytes(a), static_cast<int>(a.attention.heads.head_width)),
        first_row(static_cast<int>(blockIdx.y * a.texts_each)),
        rows(static_cast<int>(min(a.attention.batch - first_row, a.texts_each))),
        heads(static_cast<int>(a.attention.heads.queries)),
        width(static_cast<int>(a.attention.heads.head_width)),
        position(*a.attention.position),
        present(thread.row < rows),
        share(width, Chunk<T>::size),
        query_key_value(memory.query_key_value, thread),
        projection(memory.projection, thread),
        expand(memory.expand, thread),
        contract(memory.contract, thread) {
    active = static_cast<int>(position / (keys_ahead * share.groups)) + 1;
    first_unit = unit(thread.rank);
    column = static_cast<int>(threadIdx.x) % Plan::width;
    column_head = column / width;
    column_part = column - column_head * width;
    normed.inner = Plan::width;
    normed.epsilon = a.epsilon;
    normed.form = a.form;
  }

  // Of one step's messages to this block.
  __device__ void expect(Inbox& inbox, int values, int bytes = value_bytes) const {
    if (threadIdx.x == 0) {
      inbox.expect(static_cast<unsigned>(rows * values * bytes));
    }
  }
  __device__ int found_of_row() const { return heads * active * found_values(width); }

  // Asks for the parts of layer `index`; where there is none, for nothing. Each is a group of copies.
  __device__ void ask_query_key_value(int index) {
    if (index < a.count) {
      query_key_value.ask(memory.layers[index].query_key_value, thread);
      memory.attention_norm.ask(memory.layers[index].attention_norm);
    }
    end_copies();
  }
  __device__ void ask_projection(int index) {
    if (index < a.count) {
      projection.ask(memory.layers[index].projection, thread);
      if (thread.rank < units()) {
        past.read(group_of(first_unit, memory.layers[index]), share, position, width);
      }
    }
    end_copies();
  }
  __device__ void ask_expand(int index) {
    if (index < a.count) {
      expand.ask(memory.layers[index].expand, thread);
      memory.feed_forward_norm.ask(memory.layers[index].feed_forward_norm);
    }
    end_copies();
  }
  __device__ void ask_contract(int index) {
    if (index < a.count) {
      contract.ask(memory.layers[index].contract, thread);
    }
    end_copies();
  }
  // Of four groups asked for in turn, the one that is needed next.
  __device__ void wait_for_part() const { wait_for_copies<3>(); }

  // Pointers of a layer would be fetched from far away when they are needed.
  __device__ void copy_layers() const {
    constexpr int each = sizeof(DecodeLayer) / sizeof(void*);
    static_assert(each * sizeof(void*) == sizeof(DecodeLayer));
    void* const* from = reinterpret_cast<void* const*>(a.layers);
    void** to = reinterpret_cast<void**>(memory.layers);
    for (int i = static_cast<int>(threadIdx.x); i < a.count * each; i += decode_threads) {
      to[i] = from[i];
    }
  }

  __device__ void begin() {
    Inbox* const inboxes[] = {&memory.x_inbox, &memory.qkv_inbox, &memory.found_inbox, &memory.attended_inbox,
                              &memory.hidden_inbox};
    if (threadIdx.x == 0) {
      for (Inbox* inbox : inboxes) {
        inbox->begin();
      }
    }
    const bool unbiased = a.layers[0].attention_norm.bias == nullptr;
    for (int i = static_cast<int>(threadIdx.x); unbiased && i < Plan::width; i += decode_threads) {
      memory.attention_norm.bias[i] = memory.feed_forward_norm.bias[i] = from_float<T>(0.0F);
    }
    copy_layers();
    __syncthreads();
    ask_query_key_value(0);
    ask_projection(0);
    ask_expand(0);
    ask_contract(0);
    expect(memory.qkv_inbox, qkv_stride);
    expect(memory.found_inbox, found_of_row(), sizeof(float));
    expect(memory.attended_inbox, Plan::width);
    expect(memory.hidden_inbox, Plan::hidden);
    expect(memory.x_inbox, Plan::width);
  }

  __device__ T* x_of_text(int row) const { return static_cast<T*>(a.x) + (first_row + row) * Plan::width; }

  __device__ void read_x() const {
    constexpr int chunks = Plan::width / Chunk<T>::size;
    for (int index = static_cast<int>(threadIdx.x); index < rows * chunks; index += decode_threads) {
      const int row = index / chunks, column = index % chunks * Chunk<T>::size;
      store(memory.x + row * x_stride + column, load(x_of_text(row) + column));
    }
  }

  // Norms rows [rows, width] in place, once what they held is in `before`.
  template <typename Part>
  __device__ void norm(T* values, const HeldNorm<T, Plan::width>& norm, PairAddends<Part>& before) const {
    before.template read<T>(values + thread.row * x_stride, present, thread);
    wait_for_part();
    __syncthreads();
    for (int row = thread.warp; row < rows; row += decode_warps) {
      T* const own = values + row * x_stride;
      HeldRow<T, held_chunks> held(own, Plan::width, thread.lane);
      norm_values(normed, norm.weight, norm.bias, held, own);
    }
    __syncthreads();
  }

  // Calls make(total, bias, turn) for the totals of a step's product, and sends what it returns to the row's place in
  // `target`, whose rows are `stride` apart.
  template <typename Part, typename Make>
  __device__ void send_totals(const Step<T, Part>& step, Inbox& inbox, T* target, int stride, Make make) const {
    __syncthreads();
    for_totals<Part>(memory.partial, thread, [&](int turn, int column, float2 total) {
      const float2 bias = step.bias.values[turn];
      const int made = pair_of<T>(make(total.x + bias.x, turn, 0), make(total.y + bias.y, turn, 1));
      send_to_all<Plan::blocks>(inbox, made, target + thread.row * stride + column, present, thread.lane);
    });
  }

  // Unit `number` of the cluster: by text, head and split.
  __device__ int units() const { return rows * heads * active; }
  __device__ AttentionUnit unit(int number) const {
    const int row_and_head = number / active, row = row_and_head / heads;
    return {row, row_and_head - row * heads, number - row_and_head * active};
  }
  __device__ DecodeGroup<T> group_of(const AttentionUnit& unit, const DecodeLayer& layer) const {
    DecodeGroup<T> group{};
    group.count = 1;
    group.split = unit.split;
    group.queries = memory.qkv + unit.row * qkv_stride + unit.head * width;
    group.key = group.queries + Plan::width;
    group.value = group.key + Plan::width;
    const int64_t past_of = ((first_row + unit.row) * heads + unit.head) * a.attention.capacity * width;
    group.keys = static_cast<T*>(layer.keys) + past_of;
    group.values = static_cast<T*>(layer.values) + past_of;
    return group;
  }

  __device__ void attend(const DecodeLayer& layer, const AttentionUnit& own) {
    const DecodeGroup<T> group = group_of(own, layer);
    const bool has_new = own.split == active - 1;
    DecodeArguments mixing = a.attention;
    mixing.heads.query_weight = layer.query_norm;
    mixing.heads.key_weight = layer.key_norm;
    take_new_token(mixing, group, position, has_new, width, attention);
    if (has_new) {
      past.take_new(attention.key, attention.value, group, share, position);
    }
    mix_past<T, 1, Chunk<T>::size>(past, group, share, position, width, attention);
    const int index = static_cast<int>(threadIdx.x);
    if (index >= width + warp_size) {
      return;
    }
    const Merged merged = merge_parts(attention.largest, attention.total, attention.mixed + min(index, width - 1),
                                      decode_warps, 1, width);
    float* target = found + ((own.row * heads + own.head) * active + own.split) * found_values(width);
    if (index < width) {
      send_to_all<Plan::blocks>(memory.found_inbox, __float_as_int(merged.mixed), target + index / 4 * 4, true,
                                thread.lane);
    } else if (index - width < Plan::blocks) {
      memory.found_inbox.send(int4{__float_as_int(merged.largest), __float_as_int(merged.total), 0, 0}, target + width,
                              index - width);
    }
  }

  // What all splits found, for each head.
  __device__ void merge_found() const {
    const int each = found_values(width);
    static_assert(decode_threads % Plan::width == 0);
    for (int row = static_cast<int>(threadIdx.x) / Plan::width; row < rows; row += decode_threads / Plan::width) {
      const float* own = found + (row * heads + column_head) * active * each;
      const Merged all = merge_parts(own + width, own + width + 1, own + column_part, active, each, each);
      memory.mixed[row * Plan::Projection::stride + column] = from_float<T>(all.mixed / all.total);
    }
  }

  __device__ void mix_texts(int layer) {
    memory.qkv_inbox.wait(layer);
    expect(memory.qkv_inbox, qkv_stride);
    const DecodeLayer& own = memory.layers[layer];
    AttentionUnit next = first_unit;  // whose past is there
    for (int number = thread.rank; number < units();) {
      attend(own, next);
      number += Plan::blocks;
      if (number < units()) {
        next = unit(number);
        past.read(group_of(next, own), share, position, width);
      }
    }
    memory.found_inbox.wait(layer);
    expect(memory.found_inbox, found_of_row(), sizeof(float));
    merge_found();
    wait_for_part();
    __syncthreads();
  }

  __device__ void run(int layer) {
    PairAddends<typename Plan::Projection> before;
    const auto adding = [&](float value, int turn, int second) {
      return value + (second == 0 ? before.values[turn].x : before.values[turn].y);
    };
    norm(memory.x, memory.attention_norm, before);
    query_key_value.matrix.multiply(memory.x, memory.partial);
    send_totals(query_key_value, memory.qkv_inbox, memory.qkv, qkv_stride,
                [](float value, int, int) { return value + 0.0F; });
    ask_query_key_value(layer + 1);
    mix_texts(layer);
    projection.matrix.multiply(memory.mixed, memory.partial);
    send_totals(projection, memory.attended_inbox, memory.attended, x_stride, adding);
    ask_projection(layer + 1);
    memory.attended_inbox.wait(layer);
    expect(memory.attended_inbox, Plan::width);
    norm(memory.attended, memory.feed_forward_norm, before);
    expand.matrix.multiply(memory.attended, memory.partial);
    send_totals(expand, memory.hidden_inbox, memory.hidden, Plan::Contract::stride,
                [&](float value, int, int) { return activate(a.activation, value) + 0.0F; });
    ask_expand(layer + 1);
    memory.hidden_inbox.wait(layer);
    expect(memory.hidden_inbox, Plan::hidden);
    wait_for_part();
    __syncthreads();
    contract.matrix.multiply(memory.hidden, memory.partial);
    if (layer + 1 < a.count) {
      send_totals(contract, memory.x_inbox, memory.x, x_stride, adding);
      ask_contract(layer + 1);
      memory.x_inbox.wait(layer);
      expect(memory.x_inbox, Plan::width);
      return;
    }
    __syncthreads();
    for_totals<typename Plan::Contract>(memory.partial, thread, [&](int turn, int column, float2 total) {
      const float2 bias = contract.bias.values[turn];
      if (present) {
        *reinterpret_cast<int*>(x_of_text(thread.row) + column + thread.pair) =
            pair_of<T>(adding(total.x + bias.x, turn, 0), adding(total.y + bias.y, turn, 1));
      }
    });
  }
};

template <typename T, typename Plan>
__global__ void __launch_bounds__(decode_threads)
    decode_layers_kernel(const __grid_constant__ DecodeLayersArguments a) {
  extern __shared__ __align__(16) unsigned char shared[];
  Layers<T, Plan> layers(a, shared);
  layers.begin();
  __syncthreads();
  arrive_at_cluster();
  let_next_begin();
  wait_for_cluster();
  wait_for_kernels_before();
  layers.read_x();
  __syncthreads();
  for (int layer = 0; layer < a.count; ++layer) {
    layers.run(layer);
  }
}

// What a block needs of shared memory.
template <typename T, typename Plan>
size_t shared_bytes(const DecodeLayersArguments& a) {
  return sizeof(LayersMemory<T, Plan>) + found_bytes(a) + DecodeShared<T, 1>::bytes(a.attention.heads.head_width);
}

// Clusters that run at the same time, 0 where the device has none of this kind.
template <typename Kernel>
int64_t clusters_at_once(Kernel kernel, EarlyLaunch launch) {
  cudaLaunchAttribute cluster = cluster_attribute(launch.cluster);
  cudaLaunchConfig_t config{};
  config.gridDim = launch.blocks;
  config.blockDim = dim3(launch.threads);
  config.dynamicSmemBytes = launch.shared_bytes;
  config.attrs = &cluster;
  config.numAttrs = 1;
  int found = 0;
  if (cudaOccupancyMaxActiveClusters(&found, kernel, &config) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return 0;
  }
  return found;
}

// Takes a layer's memory for as few texts a cluster as let all clusters run at once.
template <typename T, typename Plan>
bool launch_decode_layers(DecodeLayersArguments& a, cudaStream_t stream) {
  const auto kernel = decode_layers_kernel<T, Plan>;
  if (!waits_by_itself(kernel)) {
    return false;  // which is code without clusters
  }
  static_cast<void>(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1));
  for (a.texts_each = 1; a.texts_each <= most_texts_each; ++a.texts_each) {
    const EarlyLaunch launch{dim3(Plan::blocks, blocks_for(a.attention.batch, a.texts_each)), decode_threads,
                             shared_bytes<T, Plan>(a), stream, Plan::blocks};
    if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(launch.shared_bytes)) != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      return false;
    }
    if (clusters_at_once(kernel, launch) >= launch.blocks.y) {
      launch_early(kernel, launch, a);
      return true;
    }
  }
  return false;
}

template <typename T>
bool launch_decode_layers(DecodeLayersArguments& a, cudaStream_t stream) {
  constexpr int blocks = 16;
  switch (a.width) {
    case 128:
      return launch_decode_layers<T, DecodePlan<128, blocks>>(a, stream);
    case 256:
      return launch_decode_layers<T, DecodePlan<256, blocks>>(a, stream);
    default:
      return false;
  }
}

}  // namespace

bool decode_layers(Precision precision, DecodeLayersArguments arguments, cudaStream_t stream) {
  const int64_t head_width = arguments.attention.heads.head_width;
  if (arguments.hidden != 4 * arguments.width || head_width % warp_size != 0 ||
      head_width + warp_size > decode_threads) {
    return false;
  }
  switch (precision) {
    case Precision::float32:
      return false;
    case Precision::float16:
      return launch_decode_layers<__half>(arguments, stream);
    case Precision::bfloat16:
      return launch_decode_layers<__nv_bfloat16>(arguments, stream);
  }
  return false;
}

}  // namespace demask::kernels::cuda::launch
