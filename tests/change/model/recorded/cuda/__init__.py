"""A made-up CUDA for the recording of TensorRT."""
