"""From raw files to a data set: conversion of characters and annotations, preprocessing, checks."""
