"""Masks as numpy arrays and COCO run lengths: encoding, boxes, NMS, regions, outlines, shape. No torch, no files."""
