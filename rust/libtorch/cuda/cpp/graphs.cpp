// CUDA graphs. Nothing that libtorch throws leaves a function of this file; `ntc_message` says what went wrong.
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>

#include <map>
#include <memory>
#include <string>

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

struct Recording {
  c10::DeviceIndex device;
  std::unique_ptr<at::cuda::CUDAGraph> graph = std::make_unique<at::cuda::CUDAGraph>();
};

// The stream of all recordings on a device, of which the caller makes one at a time. Libraries keep a workspace for each
// stream that they meet, which recordings then use wherever they are replayed.
c10::cuda::CUDAStream stream_of(c10::DeviceIndex device) {
  static std::map<c10::DeviceIndex, c10::cuda::CUDAStream> streams;
  auto found = streams.find(device);
  if (found == streams.end())
    found = streams.emplace(device, c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device)).first;
  return found->second;
}

// Gives back the memory of a pool that no graph has any more; it would be kept for ever, as no other graph uses it.
void give_back(at::cuda::MempoolId_t pool) {
  guarded([&] { c10::cuda::CUDACachingAllocator::emptyCache(pool); });
}

// A recording that failed leaves its pool of memory in use, with a filter that points to the graph: both allocators must
// let go of it before the graph ends. What they hold still depends on where the recording failed.
void let_go(const Recording& recording, at::cuda::MempoolId_t pool) {
  at::HostAllocator* host = at::getHostAllocator(at::kCUDA);
  guarded([&] { c10::cuda::CUDACachingAllocator::endAllocateToPool(recording.device, pool); });
  guarded([&] { host->end_allocate_to_pool(pool); });
  // A graph that has come as far as to tell its pool releases it itself.
  if (guarded([&] { recording.graph->pool(); })) return;
  guarded([&] { c10::cuda::CUDACachingAllocator::releasePool(recording.device, pool); });
  guarded([&] { host->release_pool(pool); });
  give_back(pool);
}

// That a recording is empty is no news: a forward that only views, or a derivative that is zero, launches nothing.
struct Silent final : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

void record(Recording& recording, bool (*launch)(void*), void* context) {
  c10::cuda::CUDAStream stream = stream_of(recording.device);
  // What is read was written on the stream that is current outside.
  c10::cuda::getCurrentCUDAStream(recording.device).synchronize();
  c10::cuda::CUDAStreamGuard here(stream);
  // At their first call on a stream, libraries allocate what they need, which cannot be recorded.
  bool runs = launch(context);
  stream.synchronize();
  TORCH_CHECK(runs, "what is to be recorded fails");
  at::cuda::MempoolId_t pool = at::cuda::graph_pool_handle();
  // Other threads, the autograd engine's among them, may do what a recording thread may not.
  bool begun = guarded([&] { recording.graph->capture_begin(pool, cudaStreamCaptureModeThreadLocal); });
  bool launched = begun && launch(context);
  // It must end in any case: the stream is used again.
  bool ended = begun && guarded([&] {
    Silent silent;
    c10::WarningUtils::WarningHandlerGuard here(&silent);
    recording.graph->capture_end();
  });
  if (!ended) {
    std::string why = message;
    let_go(recording, pool);
    TORCH_CHECK(false, why);
  }
  if (!launched) {
    recording.graph.reset();
    give_back(pool);
    TORCH_CHECK(false, "what is to be recorded fails while it is");
  }
}

}  // namespace

extern "C" {

const char* ntc_message() { return message.c_str(); }

// Runs `launch` on the device, and again to record what it launches; nullptr where something fails or cannot be recorded.
void* ntc_record(int32_t device, bool (*launch)(void*), void* context) {
  std::unique_ptr<Recording> recording;
  bool done = guarded([&] {
    c10::cuda::CUDAGuard on(static_cast<c10::DeviceIndex>(device));
    recording.reset(new Recording{static_cast<c10::DeviceIndex>(device)});
    record(*recording, launch, context);
  });
  return done ? recording.release() : nullptr;
}

bool ntc_replay(void* recording) {
  return guarded([&] { static_cast<Recording*>(recording)->graph->replay(); });
}

// The tensors of the recording must be freed before.
void ntc_destroy(void* recording) {
  guarded([&] {
    std::unique_ptr<Recording> last(static_cast<Recording*>(recording));
    c10::cuda::CUDAGuard on(last->device);
    at::cuda::MempoolId_t pool = last->graph->pool();
    last.reset();
    give_back(pool);
  });
}
}
