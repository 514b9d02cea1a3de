"""Scenes as they pass: frames of a camera, a video, a stream or a folder, answered in real time."""
